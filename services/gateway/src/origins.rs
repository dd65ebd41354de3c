//! Pages of other origins that may call (CORS, as the Fetch standard says): nobody, unless a setting names them.
//!
//! A caller shows a token that its page sets itself: no cookie is read, so `Access-Control-Allow-Credentials` is never said.

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};

/// What a page may send.
const SENT: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, purpose-of-use, x-request-id, if-match, if-none-match, x-grpc-web, x-user-agent, grpc-timeout, \
     connect-protocol-version",
);
/// What a page may read, besides what every page may.
const READ: HeaderValue = HeaderValue::from_static(
    "x-request-id, etag, location, content-disposition, allow, retry-after, www-authenticate, grpc-status, grpc-message, \
     grpc-status-details-bin",
);
/// How long a browser remembers a preflight, in seconds.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

/// The origins whose pages may call.
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<HeaderValue>);

impl Origins {
    /// These, as browsers write them: `https://console.example.org`, with a port if it is not the scheme's own.
    ///
    /// # Errors
    /// The first that is no origin.
    pub fn new(origins: &[String]) -> Result<Self, String> {
        let read = |origin: &String| {
            let value = HeaderValue::from_str(origin).ok().filter(|_| is_origin(origin));
            value.ok_or_else(|| {
                format!("{} is no origin, such as \"https://console.example.org\"", model::quoted(origin))
            })
        };
        origins.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The asking page's origin, if it may call.
    fn allowed(&self, headers: &HeaderMap) -> Option<&HeaderValue> {
        let asking = headers.get(ORIGIN)?;
        self.0.iter().find(|allowed| *allowed == asking)
    }

    /// Answers a preflight: which methods, which headers. Nothing for a page that may not call.
    pub(super) fn preflight(&self, request: &HeaderMap, methods: &HeaderValue, answer: &mut HeaderMap) {
        if self.allowed(request).is_none() || !request.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return;
        }
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, SENT);
        answer.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    }

    /// Lets a page that may call read an answer.
    pub(super) fn open(&self, request: Option<&HeaderValue>, answer: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        // also where no origin is named: caches must not give one page's answer to another
        answer.append(VARY, HeaderValue::from_name(ORIGIN));
        if let Some(origin) = self.0.iter().find(|allowed| Some(*allowed) == request) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, READ);
        }
    }
}

/// The header that names the asking page's origin.
pub(super) const ASKING: HeaderName = ORIGIN;

/// Scheme, host and perhaps port, and nothing else.
fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let plain = uri.authority().is_some_and(|at| format!("{}://{at}", uri.scheme_str().unwrap_or_default()) == text);
    is_web && plain && text == text.to_lowercase() && !text.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_says() {
        for good in ["https://console.example.org", "http://localhost:3000", "http://[::1]:8080"] {
            assert!(Origins::new(&[good.to_owned()]).is_ok(), "{good}");
        }
        for wrong in
            ["*", "null", "console.example.org", "https://a.org/", "https://A.org", "ftp://a.org", "https://u@a", ""]
        {
            assert!(Origins::new(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
