//! DNS messages over UDP and TCP (RFC 1035).

use std::marker::PhantomData;

/// One DNS query or response, names not yet decoded.
#[derive(Debug)]
pub struct DnsMessage<'a>(PhantomData<&'a [u8]>);
