//! Identities as Envoy's secrets.

use envoy_types::pb::envoy::config::core::v3::{
    DataSource, TypedExtensionConfig, data_source::Specifier,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate, secret,
    spiffe_cert_validator_config::TrustDomain,
};
use envoy_types::pb::google::protobuf::Any;
use pem_rfc7468::{LineEnding, encode_string};
use prost::{Message, Name};
use spiffe::X509Bundle;
use zeroize::Zeroize;

use super::resource::{Content, Kind, Resource};
use crate::config::Names;
use crate::sources::{Svid, SvidSnapshot};

/// Every secret of a snapshot: each SVID by its SPIFFE ID, each bundle by its trust domain ID, and
/// the well-known names.
pub(super) fn secrets(snapshot: &SvidSnapshot, names: &Names) -> Vec<Resource> {
    let mut secrets = Vec::new();
    for (id, svid) in &snapshot.svids {
        secrets.extend(certificate(svid, id.to_string(), false));
    }
    for (domain, bundle) in &snapshot.bundles {
        secrets.push(validation([bundle.as_ref()], domain.id_string(), false));
    }
    if !snapshot.bundles.is_empty() {
        secrets.push(validation(
            snapshot.bundles.values().map(AsRef::as_ref),
            names.all_bundles.clone(),
            true,
        ));
    }
    if let Some(svid) = snapshot.default_svid() {
        secrets.extend(certificate(svid, names.default_svid.clone(), true));
        let bundle = snapshot.bundles.get(svid.id().trust_domain());
        secrets.extend(
            bundle.map(|bundle| validation([bundle.as_ref()], names.default_bundle.clone(), true)),
        );
    }
    secrets
}

/// A certificate with its key in PEM, leaf first. `None` only where the key is too large for PEM,
/// which none is.
fn certificate(svid: &Svid, name: String, alias: bool) -> Option<Resource> {
    let key = encode_string("PRIVATE KEY", LineEnding::LF, svid.key()).ok()?.into_bytes();
    let mut secret = Secret {
        name: name.clone(),
        r#type: Some(secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: Some(inline(pem(svid.chain()))),
            private_key: Some(inline(key)),
            ..Default::default()
        })),
    };
    let resource = Resource::encode(Kind::Secret, Content::Certificate, name, alias, &secret);
    if let Some(secret::Type::TlsCertificate(TlsCertificate {
        private_key: Some(DataSource { specifier: Some(Specifier::InlineBytes(key)), .. }),
        ..
    })) = &mut secret.r#type
    {
        key.zeroize();
    }
    Some(resource.until(svid.not_after()))
}

/// A validation context that trusts each bundle for its own trust domain only.
fn validation<'a>(
    bundles: impl IntoIterator<Item = &'a X509Bundle>,
    name: String,
    alias: bool,
) -> Resource {
    let trust_domains = bundles.into_iter().map(|bundle| TrustDomain {
        name: bundle.trust_domain().to_string(),
        trust_bundle: Some(inline(pem(bundle
            .authorities()
            .iter()
            .map(spiffe::cert::Certificate::as_bytes)))),
        ..Default::default()
    });
    let validator =
        SpiffeCertValidatorConfig { trust_domains: trust_domains.collect(), ..Default::default() };
    let secret = Secret {
        name: name.clone(),
        r#type: Some(secret::Type::ValidationContext(CertificateValidationContext {
            custom_validator_config: Some(TypedExtensionConfig {
                name: "envoy.tls.cert_validator.spiffe".into(),
                typed_config: Some(Any {
                    type_url: SpiffeCertValidatorConfig::type_url(),
                    value: validator.encode_to_vec(),
                }),
            }),
            ..Default::default()
        })),
    };
    Resource::encode(Kind::Secret, Content::Bundle, name, alias, &secret)
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
