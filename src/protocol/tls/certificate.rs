//! Certificates of a TLS handshake: digests of their bytes, and their X.509 fields.

use md5::Digest as _;
use md5::Md5;
use sha1::Sha1;
use sha2::Sha256;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::oid_registry;
use x509_parser::objects::oid2sn;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::AttributeTypeAndValue;
use x509_parser::x509::X509Name;

use crate::time::Timestamp;

/// One certificate of a chain. Nothing is computed until asked for.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    der: &'a [u8],
    index: usize,
}

/// What a certificate says (RFC 5280), in the text that STIX `x509-certificate` uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFields {
    /// X.509 version, counted from 1: usually 3.
    pub version: u32,
    /// Serial number: lower-case hexadecimal octets joined by colons, no leading zero octet.
    pub serial_number: String,
    /// Issuer: `C=DE, O=Example, CN=a.example`, in the certificate's order.
    pub issuer: String,
    /// Subject, written as the issuer is.
    pub subject: String,
    /// Start of validity.
    pub validity_not_before: Timestamp,
    /// End of validity.
    pub validity_not_after: Timestamp,
    /// Public key algorithm by OpenSSL's short name (`rsaEncryption`), else a dotted number.
    pub subject_public_key_algorithm: String,
    /// Signature algorithm (`sha256WithRSAEncryption`), else a dotted number.
    pub signature_algorithm: String,
    /// Whether issuer and subject are the same; the signature itself is not verified.
    pub is_self_signed: bool,
    /// DNS names among the subject's alternative names, lower-case, in order.
    pub subject_alternative_names: Vec<String>,
}

impl<'a> Certificate<'a> {
    /// The certificate at place `index` of a chain; 0 is the server's own.
    pub const fn new(der: &'a [u8], index: usize) -> Self {
        Self { der, index }
    }

    /// The certificate as it was sent.
    pub const fn der(&self) -> &'a [u8] {
        self.der
    }

    /// Place in the chain; 0 is the server's own.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// MD5 of the DER bytes.
    pub fn md5(&self) -> [u8; 16] {
        Md5::digest(self.der).into()
    }

    /// SHA-1 of the DER bytes.
    pub fn sha1(&self) -> [u8; 20] {
        Sha1::digest(self.der).into()
    }

    /// SHA-256 of the DER bytes.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.der).into()
    }

    /// The fields; `None` where the bytes are no X.509 certificate.
    pub fn fields(&self) -> Option<CertificateFields> {
        let (_, certificate) = X509Certificate::from_der(self.der).ok()?;
        let names = match certificate.subject_alternative_name() {
            Ok(Some(extension)) => extension
                .value
                .general_names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        Some(CertificateFields {
            version: certificate.version().0.saturating_add(1),
            serial_number: serial_text(certificate.raw_serial()),
            issuer: name_text(certificate.issuer()),
            subject: name_text(certificate.subject()),
            validity_not_before: timestamp(&certificate.validity().not_before),
            validity_not_after: timestamp(&certificate.validity().not_after),
            subject_public_key_algorithm: algorithm_text(
                &certificate.public_key().algorithm.algorithm,
            ),
            signature_algorithm: algorithm_text(&certificate.signature_algorithm.algorithm),
            is_self_signed: certificate.issuer().as_raw() == certificate.subject().as_raw(),
            subject_alternative_names: names,
        })
    }
}

/// Octets joined by colons. DER puts a zero octet before a number whose first bit is set; it is
/// no part of the number, and neither OpenSSL nor STIX writes it.
fn serial_text(serial: &[u8]) -> String {
    let mut octets = serial;
    while let [0, rest @ ..] = octets
        && !rest.is_empty()
    {
        octets = rest;
    }
    let mut out = String::with_capacity(octets.len() * 3);
    for octet in octets {
        if !out.is_empty() {
            out.push(':');
        }
        out.push_str(&format!("{octet:02x}"));
    }
    out
}

fn name_text(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    for relative in name.iter_rdn() {
        for (place, attribute) in relative.iter().enumerate() {
            if !out.is_empty() {
                // several attributes of one relative name are joined by a plus (RFC 4514)
                out.push_str(if place == 0 { ", " } else { " + " });
            }
            out.push_str(&attribute_key(attribute.attr_type()));
            out.push('=');
            push_value(&mut out, attribute);
        }
    }
    out
}

/// The short name of an attribute as OpenSSL writes it, else its dotted number.
fn attribute_key(kind: &Oid<'_>) -> String {
    let dotted = kind.to_id_string();
    ATTRIBUTES
        .iter()
        .find(|(number, _)| *number == dotted)
        .map_or(dotted, |(_, name)| (*name).to_owned())
}

fn push_value(out: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    match attribute.as_str() {
        Ok(text) => out.push_str(text),
        // BMPString is UTF-16 in network order, and the rest is bytes of some 8-bit alphabet
        Err(_) if attribute.attr_value().header.tag().0 == BMP_STRING => {
            let units = attribute.as_slice().as_chunks::<2>().0.iter();
            let units = units.map(|pair| u16::from_be_bytes(*pair));
            out.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or('\u{fffd}')));
        }
        Err(_) => out.push_str(&String::from_utf8_lossy(attribute.as_slice())),
    }
}

fn algorithm_text(algorithm: &Oid<'_>) -> String {
    oid2sn(algorithm, oid_registry()).map_or_else(|_| algorithm.to_id_string(), str::to_owned)
}

/// Instants before 1970 and after 2554 are clamped to the ends of [`Timestamp`].
fn timestamp(time: &ASN1Time) -> Timestamp {
    u64::try_from(time.timestamp())
        .map_or(Timestamp::MIN, |seconds| Timestamp::from_parts(seconds, 0))
}

/// ASN.1 universal tag of BMPString (X.680).
const BMP_STRING: u32 = 30;

/// Attribute types with a short name (RFC 4519; RFC 2985 for the e-mail address; the CA/Browser
/// Forum's guidelines for extended validation for the jurisdiction).
const ATTRIBUTES: [(&str, &str); 19] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.42", "GN"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL"),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST"),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC"),
];
