//! TLS handshakes.

use std::marker::PhantomData;

/// A ClientHello.
#[derive(Debug)]
pub struct ClientHello<'a>(PhantomData<&'a [u8]>);
/// A ServerHello.
#[derive(Debug)]
pub struct ServerHello<'a>(PhantomData<&'a [u8]>);
/// A certificate.
#[derive(Debug)]
pub struct Certificate<'a>(PhantomData<&'a [u8]>);
