//! JWT-SVIDs: signed, published as JWKS, verified.

use std::time::{Duration, SystemTime};

use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::KeyPair;
use serde_json::{Map, Value, json};
use spiffe::SpiffeId;

use crate::svid::epoch_seconds;

/// A key that signs JWT-SVIDs, and how it is published.
pub(crate) struct JwtKey {
    id: String,
    signing: EncodingKey,
    published: Jwk,
}

impl JwtKey {
    /// Makes a new key (ES256).
    pub(crate) fn new() -> Result<Self, rcgen::Error> {
        let pair = KeyPair::generate()?;
        let signing = EncodingKey::from_ec_der(&pair.serialize_der());
        let mut published = Jwk::from_encoding_key(&signing, Algorithm::ES256)
            .expect("rcgen writes keys that parse");
        let id = published.thumbprint(ThumbprintHash::SHA256).expect("an EC key has a thumbprint");
        published.common.key_id = Some(id.clone());
        published.common.public_key_use = Some(PublicKeyUse::Other("jwt-svid".to_owned()));
        Ok(Self { id, signing, published })
    }

    /// Signs a JWT-SVID with the standard's claims: `sub`, `aud`, `iat`, `exp`.
    pub(crate) fn sign(
        &self,
        id: &SpiffeId,
        audience: &[String],
        ttl: Duration,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let now = SystemTime::now();
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::ES256) };
        let claims = json!({
            "sub": id.to_string(),
            "aud": audience,
            "iat": epoch_seconds(now),
            "exp": epoch_seconds(now + ttl),
        });
        jsonwebtoken::encode(&header, &claims, &self.signing)
    }
}

/// The JWKS document that verifies what `keys` sign.
pub(crate) fn jwks<'a>(keys: impl IntoIterator<Item = &'a JwtKey>) -> Vec<u8> {
    let set = JwkSet { keys: keys.into_iter().map(|key| key.published.clone()).collect() };
    serde_json::to_vec(&set).expect("a JWKS document is plain JSON")
}

/// Why a token is not a JWT-SVID that we vouch for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JwtError {
    #[error("the token cannot be verified")]
    Invalid(#[from] jsonwebtoken::errors::Error),
    #[error("the token's key {0:?} is not in the bundle")]
    UnknownKey(Option<String>),
    #[error("the token's subject {0} is not a SPIFFE ID")]
    Subject(Value),
}

/// Verifies a token against the JWKS document of its trust domain, and returns its subject and claims.
pub(crate) fn verify(
    token: &str,
    audience: &str,
    jwks: &[u8],
) -> Result<(SpiffeId, Map<String, Value>), JwtError> {
    let key_id = jsonwebtoken::decode_header(token)?.kid;
    let set: JwkSet = serde_json::from_slice(jwks).expect("we wrote the JWKS document");
    let key = key_id
        .as_deref()
        .and_then(|id| set.find(id))
        .ok_or(JwtError::UnknownKey(key_id.clone()))?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.leeway = 0;
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["sub", "aud", "exp"]);
    let claims = jsonwebtoken::decode::<Map<String, Value>>(
        token,
        &DecodingKey::from_jwk(key)?,
        &validation,
    )?
    .claims;
    let subject = claims.get("sub").cloned().unwrap_or_default();
    let id = subject
        .as_str()
        .and_then(|text| SpiffeId::new(text).ok())
        .ok_or(JwtError::Subject(subject))?;
    Ok((id, claims))
}

/// JSON as protobuf's `Struct` has it.
pub(crate) fn as_struct(object: Map<String, Value>) -> prost_types::Struct {
    prost_types::Struct {
        fields: object.into_iter().map(|(key, value)| (key, as_value(value))).collect(),
    }
}

fn as_value(json: Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match json {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or(f64::NAN)),
        Value::String(value) => Kind::StringValue(value),
        Value::Array(values) => Kind::ListValue(prost_types::ListValue {
            values: values.into_iter().map(as_value).collect(),
        }),
        Value::Object(fields) => Kind::StructValue(as_struct(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_verifies_for_its_audience_and_key_only() {
        let key = JwtKey::new().unwrap();
        let id = SpiffeId::new("spiffe://example.org/client").unwrap();
        let token = key.sign(&id, &["api".to_owned()], Duration::from_mins(1)).unwrap();

        let (subject, claims) = verify(&token, "api", &jwks([&key])).unwrap();
        assert_eq!(subject, id);
        assert_eq!(claims["aud"], json!(["api"]));
        assert!(matches!(verify(&token, "db", &jwks([&key])), Err(JwtError::Invalid(_))));
        let stranger = JwtKey::new().unwrap();
        assert!(matches!(verify(&token, "api", &jwks([&stranger])), Err(JwtError::UnknownKey(_))));
    }

    #[test]
    fn a_published_key_is_meant_for_jwt_svids() {
        let document: Value = serde_json::from_slice(&jwks([&JwtKey::new().unwrap()])).unwrap();
        let key = &document["keys"][0];
        assert_eq!(
            (&key["use"], &key["kty"], &key["crv"]),
            (&json!("jwt-svid"), &json!("EC"), &json!("P-256"))
        );
        assert!(key["kid"].is_string() && key.get("d").is_none());
    }
}
