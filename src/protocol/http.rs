//! HTTP/1 (RFC 9112).

use std::marker::PhantomData;

/// A request head.
#[derive(Debug)]
pub struct HttpRequest<'a>(PhantomData<&'a [u8]>);
/// A response head.
#[derive(Debug)]
pub struct HttpResponse<'a>(PhantomData<&'a [u8]>);
