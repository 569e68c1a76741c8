//! An issuer of JWTs, and Envoy's `jwt_authn` that verifies them before the policy looks at their claims.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, JwkSet},
};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::bootstrap::holders;

const ISSUER: &str = "https://issuer.example.org";

/// An issuer with a key of its own, made at run time.
pub struct JwtIssuer {
    key: EncodingKey,
    jwks: String,
}

impl JwtIssuer {
    /// Makes the key (ES256).
    pub fn new() -> Result<Self> {
        let pair = KeyPair::generate().context("no key could be made")?;
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        let published = Jwk::from_encoding_key(&key, Algorithm::ES256)?;
        let jwks = serde_json::to_string(&JwkSet { keys: vec![published] })?;
        Ok(Self { key, jwks })
    }

    /// A token with these claims, and with `iss` and `exp` where they say nothing of them.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        let in_an_hour = SystemTime::now() + Duration::from_hours(1);
        let mut whole =
            json!({ "iss": ISSUER, "exp": in_an_hour.duration_since(UNIX_EPOCH)?.as_secs() });
        for (name, value) in claims.as_object().context("claims are an object")? {
            whole[name] = value.clone();
        }
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::ES256), &whole, &self.key)?)
    }

    /// Puts `jwt_authn` before the policy's filter, wherever there is one. A request without a token passes; one
    /// whose token isn't this issuer's doesn't.
    pub fn verify_in(&self, configuration: &mut Value) {
        let filter = json!({
            "name": "envoy.filters.http.jwt_authn",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
                "providers": { "issuer": {
                    "issuer": ISSUER,
                    "local_jwks": { "inline_string": self.jwks },
                    "payload_in_metadata": "jwt_payload",
                } },
                "rules": [{
                    "match": { "prefix": "/" },
                    "requires": { "requires_any": { "requirements": [
                        { "provider_name": "issuer" },
                        { "allow_missing": {} },
                    ] } },
                }],
            },
        });
        holders(configuration, "http_filters", &mut |manager| {
            let filters = manager["http_filters"].as_array_mut();
            if let Some(filters) = filters
                && filters.iter().any(|filter| filter["name"] == "signet.http")
            {
                filters.insert(0, filter.clone());
            }
        });
    }
}
