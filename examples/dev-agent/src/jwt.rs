//! JWT-SVIDs: signed, published as JWKS, verified.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::KeyPair;
use serde_json::{Map, Value, json};
use spiffe::{SpiffeId, TrustDomain};

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
    #[error("the token cannot be verified: {0}")]
    Invalid(#[from] jsonwebtoken::errors::Error),
    #[error("the token's subject {0} is not a SPIFFE ID")]
    Subject(Value),
    #[error("the trust domain {0} is not trusted")]
    TrustDomain(TrustDomain),
    #[error("the token's key {0:?} is not in the bundle")]
    UnknownKey(Option<String>),
}

/// Verifies a token against the JWKS document of its subject's trust domain, and returns subject and claims.
pub(crate) fn verify(
    token: &str,
    audience: &str,
    bundles: &BTreeMap<TrustDomain, Vec<u8>>,
) -> Result<(SpiffeId, Map<String, Value>), JwtError> {
    // Read before it is verified, only to know whose keys must verify it.
    let id = subject(&jsonwebtoken::dangerous::insecure_decode_claims(token)?)?;
    let bundle = bundles
        .get(id.trust_domain())
        .ok_or_else(|| JwtError::TrustDomain(id.trust_domain().clone()))?;
    let keys: JwkSet = serde_json::from_slice(bundle).expect("we wrote the JWKS document");
    let key_id = jsonwebtoken::decode_header(token)?.kid;
    let key = key_id.as_deref().and_then(|id| keys.find(id));
    let key = DecodingKey::from_jwk(key.ok_or(JwtError::UnknownKey(key_id.clone()))?)?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.leeway = 0;
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["sub", "aud", "exp"]);
    Ok((id, jsonwebtoken::decode(token, &key, &validation)?.claims))
}

fn subject(claims: &Map<String, Value>) -> Result<SpiffeId, JwtError> {
    let subject = claims.get("sub").unwrap_or(&Value::Null);
    let id = subject.as_str().and_then(|text| SpiffeId::new(text).ok());
    id.ok_or_else(|| JwtError::Subject(subject.clone()))
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

    fn bundles(trust_domain: &str, key: &JwtKey) -> BTreeMap<TrustDomain, Vec<u8>> {
        BTreeMap::from([(TrustDomain::new(trust_domain).unwrap(), jwks([key]))])
    }

    #[test]
    fn a_token_verifies_for_its_audience_and_its_trust_domains_key_only() {
        let key = JwtKey::new().unwrap();
        let id = SpiffeId::new("spiffe://example.org/client").unwrap();
        let token = key.sign(&id, &["api".to_owned()], Duration::from_mins(1)).unwrap();
        let own = bundles("example.org", &key);

        let (subject, claims) = verify(&token, "api", &own).unwrap();
        assert_eq!((subject, &claims["aud"]), (id, &json!(["api"])));
        assert!(matches!(verify(&token, "db", &own), Err(JwtError::Invalid(_))));
        assert!(matches!(verify("no token", "api", &own), Err(JwtError::Invalid(_))));
        let stranger = bundles("example.org", &JwtKey::new().unwrap());
        assert!(matches!(verify(&token, "api", &stranger), Err(JwtError::UnknownKey(_))));
        let foreign = bundles("partner.example", &key);
        assert!(matches!(verify(&token, "api", &foreign), Err(JwtError::TrustDomain(_))));
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
