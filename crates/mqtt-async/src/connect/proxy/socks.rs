//! SOCKS 5: RFC 1928, and RFC 1929 for user name and password.

use std::io;
use std::net::IpAddr;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use super::{Host, ProxyError};

const VERSION: u8 = 5;

const NO_AUTHENTICATION: u8 = 0;
const USER_NAME_AND_PASSWORD: u8 = 2;
const SUBNEGOTIATION: u8 = 1;

const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

pub(super) async fn ask<Io: AsyncRead + AsyncWrite + Unpin>(
    io: &mut Io,
    host: Host<'_>,
    port: u16,
    credentials: Option<&(String, String)>,
) -> io::Result<()> {
    let methods: &[u8] = match credentials {
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USER_NAME_AND_PASSWORD],
        None => &[VERSION, 1, NO_AUTHENTICATION],
    };
    send(io, methods).await?;
    match (read(io).await?, credentials) {
        ([VERSION, NO_AUTHENTICATION], _) => {}
        ([VERSION, USER_NAME_AND_PASSWORD], Some(credentials)) => {
            authenticate(io, credentials).await?;
        }
        ([VERSION, _], _) => return Err(ProxyError::Credentials.into()),
        _ => return Err(ProxyError::NotSpoken("SOCKS 5").into()),
    }
    let mut request = vec![VERSION, CONNECT, 0];
    match host {
        Host::Address(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Host::Address(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Host::Name(name) => {
            request.push(NAME);
            put_short(&mut request, name).ok_or_else(|| ProxyError::Host(name.to_owned()))?;
        }
    }
    request.extend(port.to_be_bytes());
    send(io, &request).await?;
    match read(io).await? {
        [VERSION, 0] => skip_address(io).await,
        // Not all who refuse say more.
        [VERSION, reply] => Err(ProxyError::Reply(reply).into()),
        _ => Err(ProxyError::NotSpoken("SOCKS 5").into()),
    }
}

async fn authenticate<Io: AsyncRead + AsyncWrite + Unpin>(
    io: &mut Io,
    (user, password): &(String, String),
) -> io::Result<()> {
    let mut request = vec![SUBNEGOTIATION];
    put_short(&mut request, user).ok_or(ProxyError::UserName)?;
    put_short(&mut request, password).ok_or(ProxyError::Password)?;
    send(io, &request).await?;
    match read(io).await? {
        [SUBNEGOTIATION, 0] => Ok(()),
        _ => Err(ProxyError::Credentials.into()),
    }
}

/// Passes over the address that the proxy connects from, to the last byte: what follows is the server's.
async fn skip_address<Io: AsyncRead + Unpin>(io: &mut Io) -> io::Result<()> {
    let [_reserved, kind] = read(io).await?;
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => {
            let [length] = read(io).await?;
            usize::from(length)
        }
        _ => return Err(ProxyError::NotSpoken("SOCKS 5").into()),
    };
    let mut rest = [0; 255 + 2];
    io.read_exact(rest.get_mut(..length + 2).unwrap_or_default()).await
}

/// Puts a text behind its length, which is a byte.
fn put_short(request: &mut Vec<u8>, text: &str) -> Option<()> {
    request.push(u8::try_from(text.len()).ok().filter(|length| *length > 0)?);
    request.extend(text.as_bytes());
    Some(())
}

async fn send<Io: AsyncWrite + Unpin>(io: &mut Io, bytes: &[u8]) -> io::Result<()> {
    io.write_all(bytes).await?;
    io.flush().await
}

async fn read<const N: usize>(io: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}
