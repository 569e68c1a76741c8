//! Identities as Envoy's secrets.

use envoy_types::pb::envoy::config::core::v3::{
    DataSource, TypedExtensionConfig, data_source::Specifier,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, GenericSecret, Secret, SpiffeCertValidatorConfig,
    SubjectAltNameMatcher, TlsCertificate, secret::Type, spiffe_cert_validator_config::TrustDomain,
    subject_alt_name_matcher::SanType,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use envoy_types::pb::google::protobuf::Any;
use pem_rfc7468::{LineEnding, encode_string};
use prost::{Message, Name};
use spiffe::{JwtSvid, X509Bundle};
use zeroize::Zeroize;

use super::form::ValidationForm;
use super::resource::{Content, Kind, Resource};
use crate::config::SanMatcher;
use crate::sources::Svid;

/// A certificate with its key in PEM, leaf first. `None` only where the key is too large for PEM,
/// which none is.
pub(super) fn certificate(svid: &Svid, name: String) -> Option<Resource> {
    let key = encode_string("PRIVATE KEY", LineEnding::LF, svid.key()).ok()?.into_bytes();
    let mut secret = Secret {
        name: name.clone(),
        r#type: Some(Type::TlsCertificate(TlsCertificate {
            certificate_chain: Some(inline(pem(svid.chain()))),
            private_key: Some(inline(key)),
            ..Default::default()
        })),
    };
    let resource = Resource::encode(Kind::Secret, Content::Certificate, name, &secret);
    if let Some(Type::TlsCertificate(TlsCertificate {
        private_key: Some(DataSource { specifier: Some(Specifier::InlineBytes(key)), .. }),
        ..
    })) = &mut secret.r#type
    {
        key.zeroize();
    }
    Some(resource.until(svid.not_after()))
}

/// A JWT-SVID in its compact form, for whatever Envoy puts it into.
pub(super) fn token(svid: &JwtSvid, name: String) -> Resource {
    let token = Specifier::InlineString(svid.token().to_owned());
    let mut secret = Secret {
        name: name.clone(),
        r#type: Some(Type::GenericSecret(GenericSecret {
            secret: Some(DataSource { specifier: Some(token), ..Default::default() }),
            ..Default::default()
        })),
    };
    let resource = Resource::encode(Kind::Secret, Content::Token, name, &secret);
    if let Some(Type::GenericSecret(GenericSecret {
        secret: Some(DataSource { specifier: Some(Specifier::InlineString(token)), .. }),
        ..
    })) = &mut secret.r#type
    {
        token.zeroize();
    }
    resource.until(svid.expiry().into())
}

/// A validation context that trusts these bundles. In the SPIFFE form each speaks for its own trust
/// domain; the plain form must be given one bundle only. Of those that the bundles vouch for, only
/// those that `accepted` names are accepted; when it is empty, all.
pub(super) fn validation(
    bundles: &[&X509Bundle],
    form: ValidationForm,
    accepted: &[SanMatcher],
    name: String,
) -> Resource {
    let mut context = CertificateValidationContext {
        match_typed_subject_alt_names: accepted.iter().map(uri_matcher).collect(),
        ..Default::default()
    };
    match form {
        ValidationForm::Spiffe => {
            context.custom_validator_config = Some(spiffe_validator(bundles));
        }
        ValidationForm::Plain => {
            context.trusted_ca = bundles.first().map(|bundle| inline(authorities(bundle)));
        }
    }
    let secret = Secret { name: name.clone(), r#type: Some(Type::ValidationContext(context)) };
    Resource::encode(Kind::Secret, Content::Bundle, name, &secret)
}

fn spiffe_validator(bundles: &[&X509Bundle]) -> TypedExtensionConfig {
    let trust_domains = bundles.iter().map(|bundle| TrustDomain {
        name: bundle.trust_domain().to_string(),
        trust_bundle: Some(inline(authorities(bundle))),
        ..Default::default()
    });
    let validator =
        SpiffeCertValidatorConfig { trust_domains: trust_domains.collect(), ..Default::default() };
    TypedExtensionConfig {
        name: "envoy.tls.cert_validator.spiffe".into(),
        typed_config: Some(Any {
            type_url: SpiffeCertValidatorConfig::type_url(),
            value: validator.encode_to_vec(),
        }),
    }
}

fn uri_matcher(accepted: &SanMatcher) -> SubjectAltNameMatcher {
    let pattern = match accepted {
        SanMatcher::Exact(uri) => MatchPattern::Exact(uri.clone()),
        SanMatcher::Prefix(uri) => MatchPattern::Prefix(uri.clone()),
    };
    SubjectAltNameMatcher {
        san_type: SanType::Uri.into(),
        matcher: Some(StringMatcher { match_pattern: Some(pattern), ..Default::default() }),
        ..Default::default()
    }
}

fn authorities(bundle: &X509Bundle) -> Vec<u8> {
    pem(bundle.authorities().iter().map(spiffe::cert::Certificate::as_bytes))
}

fn pem<'a>(certificates: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    certificates
        .filter_map(|der| encode_string("CERTIFICATE", LineEnding::LF, der).ok())
        .collect::<String>()
        .into_bytes()
}

fn inline(bytes: Vec<u8>) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(bytes)), ..Default::default() }
}
