//! What of this host is never blocked: its addresses, its next hops, its resolvers, and where
//! its operator sits.

use crate::block::netlink::Attributes;
use crate::block::netlink::DUMP;
use crate::block::netlink::Messages;
use crate::block::netlink::REQUEST;
use crate::block::netlink::Socket;
use crate::block::netlink::fixed;
use crate::block::never::Protected;
use crate::block::never::Why;
use ipnet::IpNet;
use std::fs;
use std::io;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

/// Addresses and next hops that are read: a router with full tables has a million routes, but
/// few next hops.
const MOST: usize = 65_536;

/// Bytes that are read of a file such as /etc/resolv.conf, which has a few lines.
const MAX_FILE: u64 = 64 << 10;

/// Where resolvers are named; the second by systemd, where the first names a server of this
/// host that asks them.
const RESOLVERS: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// Parents of this process that are looked at for the operator's connection: `sudo` takes it out
/// of the environment, the shell before it has it still.
const MOST_PARENTS: usize = 16;

/// Messages and attributes of rtnetlink, `linux/rtnetlink.h` and `linux/if_addr.h`.
const GET_ADDRESS: u16 = 22;
const GET_ROUTE: u16 = 26;
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const BROADCAST: u16 = 4;
const GATEWAY: u16 = 5;
const MULTIPATH: u16 = 9;
const VIA: u16 = 18;

/// Bytes of `struct ifaddrmsg`, `struct rtmsg`, `struct rtnexthop`.
const ADDRESS_HEADER: usize = 8;
const ROUTE_HEADER: usize = 12;
const NEXT_HOP_HEADER: usize = 8;

/// Everything of this host, in its network namespace, that is never blocked.
///
/// Resolvers and the operator's connection are as the files and the environment say, and
/// missing where they say nothing.
pub fn protected() -> io::Result<Vec<Protected>> {
    let socket = Socket::route()?;
    let mut out = Vec::new();
    let mut add = |address: Option<IpAddr>, why: Why| {
        let Some(address) = address else { return };
        let protected = Protected::address(address, why);
        // the way to a network without a router has no next hop
        if !address.is_unspecified() && out.len() < MOST && !out.contains(&protected) {
            out.push(protected);
        }
    };
    let mut request = Messages::default();
    request.begin(GET_ADDRESS, REQUEST | DUMP, &[0; ADDRESS_HEADER]);
    request.end();
    socket.dump(&request, &mut |body| {
        let attributes = Attributes(body.get(ADDRESS_HEADER..).unwrap_or_default());
        // at a point-to-point link ADDRESS is the other end, which is the next hop there
        let local = attributes.value(LOCAL).and_then(address_in);
        let address = attributes.value(ADDRESS).and_then(address_in);
        add(local.or(address), Why::Own);
        if local.is_some() {
            add(address.filter(|a| Some(*a) != local), Why::NextHop);
        }
        add(
            attributes.value(BROADCAST).and_then(address_in),
            Why::Broadcast,
        );
    })?;
    let mut request = Messages::default();
    request.begin(GET_ROUTE, REQUEST | DUMP, &[0; ROUTE_HEADER]);
    request.end();
    socket.dump(&request, &mut |body| {
        let attributes = body.get(ROUTE_HEADER..).unwrap_or_default();
        for next_hop in next_hops(attributes) {
            add(Some(next_hop), Why::NextHop);
        }
    })?;
    for path in RESOLVERS {
        for resolver in resolvers_in(&read(Path::new(path)).unwrap_or_default()) {
            add(Some(resolver), Why::Resolver);
        }
    }
    for peer in operator_connections() {
        add(Some(peer), Why::OperatorConnection);
    }
    Ok(out)
}

/// The networks of the interfaces of this host, in its network namespace.
///
/// # Errors
/// When the kernel does not say.
pub fn networks() -> io::Result<Vec<IpNet>> {
    let socket = Socket::route()?;
    let mut out: Vec<IpNet> = Vec::new();
    let mut request = Messages::default();
    request.begin(GET_ADDRESS, REQUEST | DUMP, &[0; ADDRESS_HEADER]);
    request.end();
    socket.dump(&request, &mut |body| {
        let attributes = Attributes(body.get(ADDRESS_HEADER..).unwrap_or_default());
        let address = attributes.value(ADDRESS).and_then(address_in);
        // ifa_prefixlen
        let network = address
            .zip(body.get(1))
            .and_then(|(address, bits)| IpNet::new(address, *bits).ok());
        // of a link with a peer it names the peer, and our own address beside it
        let own = attributes
            .value(LOCAL)
            .and_then(address_in)
            .map(IpNet::from);
        for network in network
            .map(|network| network.trunc())
            .into_iter()
            .chain(own)
        {
            let is_known = out.iter().any(|other| other.contains(&network));
            if out.len() < MOST && !is_known {
                out.push(network);
            }
        }
    })?;
    Ok(out)
}

/// The next hops among the attributes of a route.
fn next_hops(attributes: &[u8]) -> Vec<IpAddr> {
    let of = |attributes: Attributes<'_>| {
        let gateway = attributes.value(GATEWAY).and_then(address_in);
        // struct rtvia: family, then the address
        let via = attributes
            .value(VIA)
            .and_then(|via| address_in(via.get(2..)?));
        gateway.into_iter().chain(via)
    };
    let attributes = Attributes(attributes);
    let mut out: Vec<IpAddr> = of(attributes).collect();
    let mut hops = attributes.value(MULTIPATH).unwrap_or_default();
    while let Some(length) = fixed(hops, 0).map(u16::from_ne_bytes).map(usize::from)
        && let Some(within) = hops.get(NEXT_HOP_HEADER..length)
    {
        out.extend(of(Attributes(within)));
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    out
}

fn address_in(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => fixed::<4>(value, 0).map(IpAddr::from),
        16 => fixed::<16>(value, 0).map(IpAddr::from),
        _ => None,
    }
}

/// The name servers of a file in the form of resolv.conf(5).
fn resolvers_in(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then_some(())?;
            // an IPv6 address may name its link behind a percent sign
            let address = words.next()?;
            address.split('%').next()?.parse().ok()
        })
        .collect()
}

/// The other ends of the connections at which this process and its parents were started.
fn operator_connections() -> Vec<IpAddr> {
    let mut out = Vec::new();
    out.extend(
        std::env::var("SSH_CONNECTION")
            .ok()
            .as_deref()
            .and_then(peer_in),
    );
    let mut process = std::os::unix::process::parent_id();
    for _ in 0..MOST_PARENTS {
        if process <= 1 {
            break;
        }
        let folder = Path::new("/proc").join(process.to_string());
        let environment = read(&folder.join("environ")).unwrap_or_default();
        out.extend(
            environment
                .split('\0')
                .find_map(|entry| entry.strip_prefix("SSH_CONNECTION="))
                .and_then(peer_in),
        );
        let status = read(&folder.join("status")).unwrap_or_default();
        let Some(parent) = status
            .lines()
            .find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
        else {
            break;
        };
        process = parent;
    }
    out.dedup();
    out
}

/// The client in `SSH_CONNECTION`: "client port server port", ssh(1).
fn peer_in(connection: &str) -> Option<IpAddr> {
    let client = connection.split_whitespace().next()?;
    client.split('%').next()?.parse().ok()
}

fn read(path: &Path) -> io::Result<String> {
    let mut content = Vec::new();
    fs::File::open(path)?
        .take(MAX_FILE)
        .read_to_end(&mut content)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_and_peers_are_read() {
        let text = "# comment\nnameserver 192.0.2.53\nsearch example.org\n\
                    nameserver\tfe80::1%eth0\nnameserver none\nnameserver 2001:db8::53 \n";
        let read: Vec<String> = resolvers_in(text).iter().map(IpAddr::to_string).collect();
        assert_eq!(read, ["192.0.2.53", "fe80::1", "2001:db8::53"]);
        for (text, peer) in [
            ("192.0.2.9 50000 192.0.2.1 22", Some("192.0.2.9")),
            ("fe80::2%eth0 50000 fe80::1%eth0 22", Some("fe80::2")),
            ("", None),
            ("UNKNOWN 65535 UNKNOWN 65535", None),
        ] {
            assert_eq!(peer_in(text).map(|a| a.to_string()).as_deref(), peer);
        }
    }

    #[test]
    fn next_hops_of_all_kinds_are_read() {
        let mut route = Messages::default();
        route.put(GATEWAY, &[192, 0, 2, 1]);
        let mut via = vec![10, 0];
        via.extend_from_slice(&[0x20; 16]);
        route.put(VIA, &via);
        let mut hops = Messages::default();
        for last in [7_u8, 8] {
            let mut hop = Messages::default();
            hop.put(GATEWAY, &[192, 0, 2, last]);
            let length = (NEXT_HOP_HEADER + hop.bytes().len()) as u16;
            let mut header = length.to_ne_bytes().to_vec();
            header.extend_from_slice(&[0; 6]);
            hops.append(&header);
            hops.append(hop.bytes());
        }
        route.put(MULTIPATH, hops.bytes());
        let whole = route.bytes();
        let read: Vec<String> = next_hops(whole).iter().map(IpAddr::to_string).collect();
        let many = "2020:2020:2020:2020:2020:2020:2020:2020";
        assert_eq!(read, ["192.0.2.1", many, "192.0.2.7", "192.0.2.8"]);
        // cut anywhere, less is read, and nothing else
        for length in 0..whole.len() {
            assert!(next_hops(&whole[..length]).len() < 4, "{length}");
        }
    }
}
