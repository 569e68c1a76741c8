//! Keeps pages of other sites, open in an operator's browser, from reading or changing anything here.

use std::net::IpAddr;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Bytes that are read of a body that nobody wants: closing on what was not read would reset the
/// connection, and the refusal with it.
const UNWANTED: usize = 64 << 10;

/// Refuses what only a page of another site would send:
///
/// - a `Host` that is a name other than `localhost`: such a name can be pointed at this machine (DNS
///   rebinding), an IP address cannot;
/// - an `Origin` that is not this host;
/// - a change whose body is not `application/json`: a foreign page can post forms and texts only.
pub(super) async fn refuse_other_sites(request: Request, next: Next) -> Response {
    match foreign(request.method(), request.headers()) {
        Some(reason) => {
            let _ = to_bytes(request.into_body(), UNWANTED).await;
            (StatusCode::FORBIDDEN, format!("{reason}\n")).into_response()
        }
        None => next.run(request).await,
    }
}

fn foreign(method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    let of = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = of(header::HOST).unwrap_or_default();
    if !is_address(host) {
        return Some("host: accepted are an IP address and localhost");
    }
    if let Some(origin) = of(header::ORIGIN)
        && origin.strip_prefix("http://") != Some(host)
    {
        return Some("origin: pages of other sites may not ask");
    }
    let json = of(header::CONTENT_TYPE).is_some_and(|value| {
        value.split(';').next().unwrap_or_default().trim() == "application/json"
    });
    let changes = ![Method::GET, Method::HEAD].contains(method);
    (changes && !json).then_some("content-type: accepted is application/json")
}

/// Whether a `Host` header is an IP address or `localhost`, with or without a port.
fn is_address(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _port)) => address,
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::foreign;

    #[test]
    fn only_this_host_may_ask_and_only_json_changes() {
        let json = ("content-type", "application/json; charset=utf-8");
        let form = ("content-type", "application/x-www-form-urlencoded");
        for (method, headers, accepted) in [
            (Method::GET, vec![("host", "127.0.0.1:9902")], true),
            (Method::GET, vec![("host", "localhost:9902")], true),
            (Method::GET, vec![("host", "[::1]:9902")], true),
            (Method::GET, vec![("host", "localhost"), ("origin", "http://localhost")], true),
            (Method::GET, vec![], false),
            (Method::GET, vec![("host", "rebound.example:9902")], false),
            (Method::GET, vec![("host", "127.0.0.1.rebound.example")], false),
            (Method::GET, vec![("host", "localhost"), ("origin", "http://evil.example")], false),
            (Method::GET, vec![("host", "localhost"), ("origin", "null")], false),
            (Method::POST, vec![("host", "127.0.0.1:9902"), json], true),
            (Method::POST, vec![("host", "127.0.0.1:9902"), form], false),
            (Method::POST, vec![("host", "127.0.0.1:9902")], false),
            (
                Method::POST,
                vec![("host", "127.0.0.1:9902"), json, ("origin", "http://127.0.0.1:9903")],
                false,
            ),
        ] {
            let shown = format!("{method} {headers:?}");
            let headers: HeaderMap = headers
                .into_iter()
                .map(|(name, value)| {
                    (HeaderName::from_static(name), HeaderValue::from_static(value))
                })
                .collect();
            assert_eq!(foreign(&method, &headers).is_none(), accepted, "{shown}");
        }
    }
}
