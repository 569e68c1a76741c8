//! One request and its answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use serde_json::{Value, json};

use crate::proxy::{Connection, Proxy};

/// What is asked, as often as it may be sent.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// Sent as it is, `..` and all.
    pub(crate) target: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// For the whole exchange.
    pub(crate) deadline: Duration,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the proxy cannot be reached: {0}")]
    Connect(std::io::Error),
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    #[error("no answer within {0:?}")]
    Deadline(Duration),
}

impl Ask {
    /// With the headers that go without saying, unless somebody chose them.
    pub(crate) fn new(
        proxy: &Proxy,
        method: Method,
        target: Uri,
        chosen: Vec<(HeaderName, HeaderValue)>,
        data: Option<String>,
        deadline: Duration,
    ) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in chosen {
            headers.append(name, value);
        }
        if !headers.contains_key(HOST) {
            let host = proxy.to_string().try_into().expect("an address is a header value");
            headers.insert(HOST, host);
        }
        if data.is_some() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Self { method, target, headers, body: data.unwrap_or_default().into(), deadline }
    }

    /// Asks on a connection.
    pub(crate) async fn send(&self, connection: &mut Connection) -> Result<Answer, Fault> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        let exchange = async {
            let (head, body) = connection.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(self.deadline, exchange)
            .await
            .map_err(|_| Fault::Deadline(self.deadline))?
    }
}

impl Answer {
    /// For people: the status, then the body.
    pub(crate) fn as_text(&self) -> String {
        let body = match serde_json::from_slice::<Value>(&self.body) {
            Ok(json) => format!("{json:#}"),
            Err(_) => String::from_utf8_lossy(&self.body).trim_end().to_owned(),
        };
        format!("{}\n{body}", self.status)
    }

    /// For programs: status, headers and body; a body that is no JSON is a string, a repeated header a list.
    pub(crate) fn as_json(&self) -> Value {
        let body = serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&self.body).into_owned()));
        let headers: serde_json::Map<String, Value> = self
            .headers
            .keys()
            .map(|name| {
                let values: Vec<_> = self
                    .headers
                    .get_all(name)
                    .iter()
                    .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                    .collect();
                let value = if values.len() == 1 { json!(values[0]) } else { json!(values) };
                (name.to_string(), value)
            })
            .collect();
        json!({ "status": self.status.as_u16(), "headers": headers, "body": body })
    }
}
