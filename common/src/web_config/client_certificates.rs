//! Which certificates of clients are asked for, and which are taken.

use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore,
    SignatureScheme,
};

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::peer_names::{San, sans};
use crate::net::tls::is_a_cas_own;

/// `client_auth_type`, by Go's names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ClientAuth {
    #[default]
    NoClientCert,
    RequestClientCert,
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

impl FromStr for ClientAuth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "NoClientCert" | "" => Self::NoClientCert,
            "RequestClientCert" => Self::RequestClientCert,
            // The second is its name of old.
            "RequireAnyClientCert" | "RequireClientCert" => Self::RequireAnyClientCert,
            "VerifyClientCertIfGiven" => Self::VerifyClientCertIfGiven,
            "RequireAndVerifyClientCert" => Self::RequireAndVerifyClientCert,
            _ => {
                return Err(format!(
                    "{text:?}: expected NoClientCert, RequestClientCert, RequireAnyClientCert, \
                     VerifyClientCertIfGiven or RequireAndVerifyClientCert"
                ));
            }
        })
    }
}

impl ClientAuth {
    /// Whether a certificate that is shown must be vouched for.
    pub(super) fn verifies(self) -> bool {
        matches!(
            self,
            Self::VerifyClientCertIfGiven | Self::RequireAndVerifyClientCert
        )
    }

    /// Whether nobody comes in without one.
    pub(super) fn requires(self) -> bool {
        matches!(
            self,
            Self::RequireAnyClientCert | Self::RequireAndVerifyClientCert
        )
    }
}

/// Asks for a certificate. Whoever shows one must hold its key, whatever else is asked.
#[derive(Debug)]
pub(super) struct Asking {
    mandatory: bool,
    /// Who vouches for it; without, anybody does.
    vouched: Option<OrListed>,
    /// Names of which it must have one, where they are given.
    allowed: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The CAs of `client_ca_file`, and clients who show one of those certificates themselves: a
/// self-signed one, which is a CA's own more often than not. Go takes it.
#[derive(Debug)]
struct OrListed {
    vouched: Arc<dyn ClientCertVerifier>,
    listed: Vec<CertificateDer<'static>>,
}

impl OrListed {
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let vouched = self
            .vouched
            .verify_client_cert(end_entity, intermediates, now);
        match vouched {
            // Found after its dates were, and before its purpose is looked at.
            Err(rustls::Error::InvalidCertificate(error))
                if is_a_cas_own(&error) && self.listed.iter().any(|one| one == end_entity) =>
            {
                if is_for_clients(end_entity) {
                    Ok(())
                } else {
                    Err(CertificateError::InvalidPurpose.into())
                }
            }
            vouched => vouched.map(drop),
        }
    }
}

/// Whether its extended key usage, where it has one, says so (RFC 5280 §4.2.1.12).
fn is_for_clients(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    match certificate.extended_key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.any || usage.value.client_auth),
        Err(_) => false,
    }
}

/// The certificate has none of the names it should.
#[derive(Debug, thiserror::Error)]
#[error("none of its names is among client_allowed_sans")]
struct NotAllowed;

impl Asking {
    /// What `auth` asks, with these CAs. An error where there are none and there should be.
    pub(super) fn new(
        auth: ClientAuth,
        cas: Option<Vec<CertificateDer<'static>>>,
        allowed: Option<Vec<String>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let vouched = if auth.verifies() {
            // Go takes the system's CAs then: anybody's certificate would do.
            let listed = cas.ok_or("client_ca_file is missing: who vouches for clients?")?;
            let mut roots = RootCertStore::empty();
            for ca in &listed {
                let added = roots.add(ca.clone());
                added.map_err(|error| format!("client_ca_file: {error}"))?;
            }
            let builder =
                WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
            let vouched = builder.build().map_err(|error| error.to_string())?;
            Some(OrListed { vouched, listed })
        } else {
            None
        };
        Ok(Self {
            mandatory: auth.requires(),
            vouched,
            allowed,
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.vouched
            .as_ref()
            .map_or(&[], |by| by.vouched.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if let Some(vouched) = &self.vouched {
            vouched.verify(end_entity, intermediates, now)?;
        }
        if let Some(allowed) = &self.allowed {
            let names = sans(end_entity).map_err(|_| CertificateError::BadEncoding)?;
            let mut texts = names.iter().map(San::text);
            if !texts.any(|name| allowed.contains(&name)) {
                let reason = OtherError(Arc::new(NotAllowed));
                return Err(CertificateError::Other(reason).into());
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
