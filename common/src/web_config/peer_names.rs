//! Who a client's certificate says it is.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The subject alternative names of a client's certificate that was verified: who the other side
/// is. Of one that was not verified there is nothing in it: anybody can write such a certificate.
/// Clones share the names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerNames(Option<Arc<[San]>>);

/// One name, and of which kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum San {
    /// A host's: `pi.example`, also with a star in it.
    Dns(String),
    /// `ops@example.org`.
    Email(String),
    /// Canonical: an IPv4 address is one, also where it was written as IPv6.
    Ip(IpAddr),
    /// `spiffe://example.org/pi`, byte for byte.
    Uri(String),
}

impl San {
    /// As `client_allowed_sans` has it.
    pub fn text(&self) -> String {
        match self {
            Self::Dns(name) | Self::Email(name) | Self::Uri(name) => name.clone(),
            Self::Ip(ip) => ip.to_string(),
        }
    }
}

impl PeerNames {
    /// Of a certificate that was verified; an error is one that cannot be read.
    pub(super) fn verified(certificate: &CertificateDer<'_>) -> Result<Self, &'static str> {
        Ok(Self(Some(sans(certificate)?.into())))
    }

    /// Whether a certificate was shown, and a CA of ours vouches for it.
    pub fn is_verified(&self) -> bool {
        self.0.is_some()
    }

    /// The names, in the certificate's order.
    pub fn iter(&self) -> impl Iterator<Item = &San> {
        self.0.iter().flat_map(|names| names.iter())
    }

    /// The names as `client_allowed_sans` has them.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.iter().map(San::text)
    }
}

/// The names in a certificate, whoever made it. One with control characters is none: it would be
/// shown in logs.
pub(super) fn sans(certificate: &CertificateDer<'_>) -> Result<Vec<San>, &'static str> {
    const DAMAGED: &str = "its names cannot be read";
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| DAMAGED)?;
    let extension = certificate
        .subject_alternative_name()
        .map_err(|_| DAMAGED)?;
    let names = extension.map(|it| &it.value.general_names);
    let plain = |name: &str| !name.is_empty() && !name.chars().any(char::is_control);
    let sans = names.into_iter().flatten().filter_map(|name| match name {
        GeneralName::DNSName(name) if plain(name) => Some(San::Dns((*name).to_owned())),
        GeneralName::RFC822Name(name) if plain(name) => Some(San::Email((*name).to_owned())),
        GeneralName::URI(name) if plain(name) => Some(San::Uri((*name).to_owned())),
        GeneralName::IPAddress(bytes) => ip(bytes).map(San::Ip),
        _ => None,
    });
    Ok(sans.collect())
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::from(v6).to_canonical())
}
