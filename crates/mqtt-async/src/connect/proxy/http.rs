//! CONNECT of HTTP/1.1: RFC 9110 section 9.3.6.

use std::io;

use data_encoding::BASE64;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use super::{Address, ProxyError};

/// The longest answer to take.
const LIMIT: usize = 16 * 1024;

pub(super) async fn ask<Io: AsyncRead + AsyncWrite + Unpin>(
    io: &mut Io,
    server: &Address,
    credentials: Option<&(String, String)>,
) -> io::Result<()> {
    let mut request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n");
    if let Some((user, password)) = credentials {
        if user.contains(':') {
            return Err(ProxyError::UserName.into());
        }
        let encoded = BASE64.encode(format!("{user}:{password}").as_bytes());
        request.push_str(&format!("Proxy-Authorization: Basic {encoded}\r\n"));
    }
    request.push_str("\r\n");
    io.write_all(request.as_bytes()).await?;
    io.flush().await?;
    match status(&answer(io).await?) {
        Some(200..=299) => Ok(()),
        // The second one is meant for servers, but tinyproxy says it too.
        Some(407 | 401) => Err(ProxyError::Credentials.into()),
        Some(status) => Err(ProxyError::Status(status).into()),
        None => Err(ProxyError::NotSpoken("HTTP").into()),
    }
}

/// Reads the head of the answer, byte by byte: what follows it comes from the server, and is not ours.
async fn answer<Io: AsyncRead + Unpin>(io: &mut Io) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        // What begins otherwise need not be waited for.
        if head.len() == 5 && head != b"HTTP/" {
            break;
        }
        if head.len() == LIMIT {
            return Err(ProxyError::TooLong.into());
        }
        io.read_exact(&mut byte).await?;
        head.extend(byte);
    }
    Ok(head)
}

/// Reads the status out of `HTTP/1.1 200 Connection established`.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.strip_prefix(b"HTTP/1.")?;
    let code = match line {
        [b'0' | b'1', b' ', code @ ..] => code.get(..3)?,
        _ => return None,
    };
    let ends = matches!(line.get(5), Some(b' ' | b'\r'));
    std::str::from_utf8(code).ok()?.parse().ok().filter(|_| ends)
}
