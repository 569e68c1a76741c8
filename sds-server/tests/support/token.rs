//! JWT-SVIDs of a private authority.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A JWT-SVID that ends so long after `now`. Its signature is none: who fetches one trusts the agent.
pub(crate) fn token(id: &str, audience: &[&str], now: SystemTime, life: Duration) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let exp = (now + life).duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let header = part(r#"{"alg":"ES256","kid":"key"}"#);
    let claims = part(&format!(r#"{{"sub":"{id}","aud":{audience:?},"exp":{exp}}}"#));
    format!("{header}.{claims}.{}", part("signature"))
}
