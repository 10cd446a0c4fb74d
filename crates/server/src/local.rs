//! Requests that a web page makes behind its user's back.
//!
//! A server on this machine's own address that asks for no key trusts whoever runs programs here. A
//! page in a browser runs here too, and is a stranger: it may send requests, and by giving its own
//! name this machine's address (DNS rebinding) it may even read the answers. Browsers say whose page
//! it is (`Origin`) and whom it means (`Host`); programs that are no browsers send no `Origin`.

use std::net::IpAddr;

use axum::http::{HeaderMap, header, uri::Authority};

use crate::api::error::ApiError;

/// That a request means this machine and does not come from a page of another one.
///
/// # Errors
/// Another host, or a page of one: status 403.
pub(crate) fn require_local(headers: &HeaderMap) -> Result<(), ApiError> {
    let refused = |name: &str, found: &str| {
        let text = format!(
            "`{name}` is `{found}`: without API keys only this machine itself is answered, as localhost or 127.0.0.1"
        );
        Err(ApiError::of_status(403, "not_local", text))
    };
    for name in [header::HOST, header::ORIGIN] {
        for value in headers.get_all(&name) {
            let text = value.to_str().unwrap_or("?");
            let host = match text.split_once("://") {
                Some((_, host)) if name == header::ORIGIN => host,
                None if name == header::HOST => text,
                _ => return refused(name.as_str(), text),
            };
            if !is_own(host) {
                return refused(name.as_str(), text);
            }
        }
    }
    Ok(())
}

/// Whether a host, perhaps with a port, is this machine by whatever name system.
fn is_own(host: &str) -> bool {
    // The library takes a name and an address in brackets apart, and refuses what is neither.
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let port = host.strip_prefix(name).map(|rest| rest.strip_prefix(':').unwrap_or(rest));
    if !port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
        return false;
    }
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    match name.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        // RFC 6761: no name server is asked for these.
        Err(_) => {
            let name = name.to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn judged(entries: &[(header::HeaderName, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in entries {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        require_local(&headers).is_ok()
    }

    #[test]
    fn this_machine_is_told_from_others() {
        for host in [
            "localhost",
            "localhost.",
            "localhost:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "a.LOCALHOST:1",
        ] {
            assert!(judged(&[(header::HOST, host)]), "{host}");
            let origin = format!("http://{host}");
            assert!(judged(&[(header::HOST, host), (header::ORIGIN, &origin)]), "{origin}");
        }
        assert!(judged(&[]), "programs of old send no host");
        for host in [
            "evil.example",
            "evil.example:8080",
            "192.168.0.1",
            "localhost.evil.example",
            "[::1]evil.example",
            "[::1",
            "localhost:80@evil.example",
            "",
            "[::2]",
        ] {
            assert!(!judged(&[(header::HOST, host)]), "{host}");
        }
        for origin in ["null", "http://evil.example", "https://1.2.3.4", "localhost", "file://"] {
            assert!(!judged(&[(header::HOST, "localhost"), (header::ORIGIN, origin)]), "{origin}");
        }
        let two = [(header::HOST, "localhost"), (header::HOST, "evil.example")];
        assert!(!judged(&two));
    }
}
