//! Certificates for tests: authorities, and what they sign.
#![allow(dead_code, unreachable_pub)]

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// A certificate and its key, in PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// Who signs certificates.
pub struct Authority {
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// When a certificate is valid, seen from the year 2026.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Valid {
    Now,
    NoLonger,
    NotYet,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = params(&[], name, Valid::Now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap().pem();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for hosts: names or IP addresses.
    pub fn sign(&self, hosts: &[&str], name: &str, valid: Valid) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params(hosts, name, valid).signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

pub fn self_signed(host: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate =
        params(&[host], "self-signed in a test", Valid::Now).self_signed(&key).unwrap();
    Identity { certificate: certificate.pem(), key: key.serialize_pem() }
}

fn params(hosts: &[&str], name: &str, valid: Valid) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| host.to_string()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let (from, to) = match valid {
        Valid::Now => (2020, 2500),
        Valid::NoLonger => (2000, 2010),
        Valid::NotYet => (2490, 2500),
    };
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params
}
