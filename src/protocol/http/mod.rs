//! stub
use std::net::IpAddr;
use crate::flow::Direction;
use crate::protocol::*;
#[derive(Debug)]
pub struct HttpRequest<'a> { pub method: &'a str, pub target: &'a str, pub version: Version, pub host: Option<&'a str>, pub port: Option<u16>, pub other_host: Option<&'a str>, }
#[derive(Debug)]
pub struct HttpResponse<'a>(std::marker::PhantomData<&'a [u8]>);
#[derive(Debug)]
pub struct Version{pub major:u8,pub minor:u8}
impl<'a> HttpRequest<'a> {
  pub fn headers(&self) -> std::vec::IntoIter<(&'a str,&'a [u8])> { vec![].into_iter() }
  pub fn header(&self, _n:&str) -> Option<&'a [u8]> { None }
  pub fn url<'b>(&self, _s: IpAddr, _p: u16, _b: &'b mut String)->Option<&'b str>{None}
}
pub fn normalise_url(t:&str)->Option<String>{Some(t.into())}
pub struct HttpParser;
impl HttpParser { pub fn new()->Self{Self} pub fn probe(_d:Direction,_b:&[u8])->Probe{Probe::NotForUs} }
impl Parser for HttpParser {
    fn parse(&mut self, _: Direction, _: &[u8], _: &Wants, _: &mut Sink<'_>) -> Status {Status::Done}
    fn gap(&mut self, _: Direction, _: u64, _: &Wants, _: &mut Sink<'_>) -> Status{Status::Done}
    fn end(&mut self, _: Direction, _: &Wants, _: &mut Sink<'_>){}
}
