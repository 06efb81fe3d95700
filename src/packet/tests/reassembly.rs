//! Fragments, from the frame's side.

use super::*;

/// `packet`, an IPv4 packet without options, in fragments of at most `size` bytes (a multiple
/// of 8).
fn split4(packet: &[u8], identification: u16, size: usize) -> Vec<Vec<u8>> {
    let (header, content) = packet.split_at(20);
    let pieces = content.chunks(size);
    let count = pieces.len();
    pieces
        .enumerate()
        .map(|(i, piece)| {
            let mut out = join(&[header, piece]);
            let length = out.len() as u16;
            let more = if i + 1 < count { 0x2000 } else { 0 };
            let offset = (i * size / 8) as u16 | more;
            out[2..4].copy_from_slice(&length.to_be_bytes());
            out[4..6].copy_from_slice(&identification.to_be_bytes());
            out[6..8].copy_from_slice(&offset.to_be_bytes());
            out
        })
        .collect()
}

/// `packet`, an IPv6 packet without extension headers, in fragments of at most `size` bytes.
fn split6(packet: &[u8], identification: u32, size: usize) -> Vec<Vec<u8>> {
    let (header, content) = packet.split_at(40);
    let pieces = content.chunks(size);
    let count = pieces.len();
    pieces
        .enumerate()
        .map(|(i, piece)| {
            let offset = (i * size) as u16 | u16::from(i + 1 < count);
            let mut out = header.to_vec();
            out[4..6].copy_from_slice(&(piece.len() as u16 + 8).to_be_bytes());
            let next = std::mem::replace(&mut out[6], 44);
            out.extend([next, 0]); // next header, reserved
            out.extend(offset.to_be_bytes());
            out.extend(identification.to_be_bytes());
            out.extend(piece);
            out
        })
        .collect()
}

#[test]
fn fragments_in_any_order_yield_the_packet() {
    let mut random = Random(3);
    let mut bench = Bench::new();
    for round in 0..400 {
        let ipv4 = round % 2 == 0;
        let size = 8 * (1 + random.below(3));
        let mut fragments = if ipv4 {
            split4(&tcp4(), round, size)
        } else {
            split6(&udp6(), u32::from(round), size)
        };
        random.shuffle(&mut fragments);
        if random.below(2) == 0 {
            fragments.insert(1, fragments[0].clone());
        }
        let last = fragments.len() - 1;
        for (i, fragment) in fragments.iter().enumerate() {
            let kind = if ipv4 { 0x0800 } else { 0x86dd };
            // padded as short frames are
            let frame = join(&[&ethernet(kind, fragment), &[0; 9]]);
            let outcome = bench.decode(LinkType::ETHERNET, &frame);
            if i < last {
                assert_eq!(outcome, Outcome::Fragment, "round {round}");
            }
        }
        assert!(bench.packet.reassembled);
        if ipv4 {
            bench.is_tcp4("ipv4");
            assert_eq!(bench.packet.tcp.sequence, 0x0102_0304);
        } else {
            bench.is_udp6("ipv6");
        }
        assert_eq!(bench.decoder.fragmented_datagrams(), 0);
    }
    assert_eq!(bench.decoder.fragment_counters().reassembled, 400);
    // the next frame lies in itself again
    bench.decode(LinkType::IPV4, &tcp4());
    bench.is_tcp4("plain");
    assert!(!bench.packet.reassembled);
}

#[test]
fn tunnels_and_fragments_enclose_each_other() {
    let vxlan = [8, 0, 0, 0, 0, 0, 7, 0];
    let inside = join(&[&vxlan, &ethernet(0x0800, &tcp4())]);
    let mut bench = Bench::new();

    // a tunnel in fragments
    for fragment in split4(&udp4(9, 4789, &inside), 1, 48).iter().rev() {
        bench.decode(LinkType::IPV4, fragment);
    }
    bench.is_tcp4("tunnel in fragments");
    assert_eq!(bench.tunnels(), [OUTER4]);
    assert!(bench.packet.reassembled);

    // fragments in a tunnel; the completing one's header counts
    for (i, fragment) in split4(&tcp4(), 2, 24).iter().enumerate() {
        let mut packet = ipv4(4, fragment);
        packet[15] = i as u8; // 203.0.113.i
        bench.decode(LinkType::IPV4, &packet);
    }
    bench.is_tcp4("fragments in a tunnel");
    assert_eq!(bench.tunnels(), ["203.0.113.1 > 203.0.113.2"]);

    // fragments in a tunnel in fragments
    let mut outcomes = Vec::new();
    for (i, inner) in split4(&tcp4(), 3, 24).iter().enumerate() {
        for outer in split6(&ipv6(4, inner), i as u32, 32) {
            outcomes.push(bench.decode(LinkType::IPV6, &outer));
        }
    }
    bench.is_tcp4("fragments in a tunnel in fragments");
    assert_eq!(bench.tunnels(), [OUTER6]);
    assert_eq!(
        outcomes,
        [
            Outcome::Fragment,
            Outcome::Fragment,
            Outcome::Fragment,
            Outcome::Packet
        ]
    );
    assert_eq!(bench.decoder.fragmented_datagrams(), 0);
}

#[test]
fn what_is_bad_in_a_reassembled_tunnel_is_that_tunnels_flow() {
    let mut bad = tcp4();
    bad[0] = 0x43;
    let mut bench = Bench::new();
    for fragment in split4(&ipv4(4, &bad), 1, 24) {
        bench.decode(LinkType::IPV4, &fragment);
    }
    assert_eq!(bench.outcome, Outcome::Packet);
    assert_eq!(bench.flow(), "203.0.113.1 0 > 203.0.113.2 0 4");
    assert_eq!(bench.payload(), bad);
    assert_eq!(bench.decoder.inner_anomaly(), Some("ipv4.header-length"));
    assert!(bench.tunnels().is_empty());

    // a tunnel's own packet does not stand for a datagram that it carried only a part of
    let mut bad = tcp4();
    bad[32] = 0x40; // 16 bytes of TCP header
    for fragment in split4(&bad, 2, 24) {
        bench.decode(LinkType::IPV4, &ipv4(4, &fragment));
    }
    assert_eq!(bench.outcome, Outcome::Anomaly("tcp.data-offset"));
}

#[test]
fn fragments_of_different_datagrams_are_kept_apart() {
    let fragments = split4(&tcp4(), 1, 24);
    let tagged = |vlan, fragment: &[u8]| {
        let tag = [0, vlan, 0x08, 0x00];
        ethernet(0x8100, &join(&[&tag, fragment]))
    };
    let mut bench = Bench::new();
    let first = ethernet(0x0800, &fragments[0]);
    assert_eq!(bench.decode(LinkType::ETHERNET, &first), Outcome::Fragment);
    let mut other_protocol = fragments[1].clone();
    other_protocol[9] = 17;
    let mut other_identification = fragments[1].clone();
    other_identification[5] = 9;
    let mut other_destination = fragments[1].clone();
    other_destination[19] = 9;
    for frame in [
        ethernet(0x0800, &other_protocol),
        ethernet(0x0800, &other_identification),
        ethernet(0x0800, &other_destination),
        tagged(7, &fragments[1]),
        ethernet(0x0800, &ipv4(4, &fragments[1])),
    ] {
        assert_eq!(bench.decode(LinkType::ETHERNET, &frame), Outcome::Fragment);
    }
    assert_eq!(bench.decoder.fragmented_datagrams(), 6);
    bench.decode(LinkType::ETHERNET, &ethernet(0x0800, &fragments[1]));
    bench.is_tcp4("the right one");
}

#[test]
fn a_fragment_that_was_cut_cannot_complete() {
    let fragments = split4(&tcp4(), 1, 24);
    let mut bench = Bench::new();
    let first = &fragments[0];
    let cut = &first[..first.len() - 1];
    let outcome = bench.decode_cut(LinkType::IPV4, cut, first.len());
    assert_eq!(outcome, Outcome::Anomaly("frame.cut"));
    assert_eq!(bench.decoder.fragmented_datagrams(), 0);
}

#[test]
fn fragment_headers_in_a_row_end() {
    // a datagram whose content is a fragment header again, and so on
    let header = |more: u8, next: u8| [next, 0, 0, more, 0, 0, 0, 1];
    let mut content = vec![7; 16];
    for _ in 0..200 {
        content = join(&[&header(0, 44), &content]);
    }
    let bench = Bench::of(LinkType::IPV6, &ipv6(44, &content));
    assert_eq!(bench.outcome, Outcome::Anomaly("frame.layers"));
    // each completes the next: 44 in 44
    let mut bench = Bench::new();
    let tail = [0, 0, 0, 0, 0, 0, 0, 0];
    let second = join(&[&[44, 0, 0, 8, 0, 0, 0, 1], &tail]);
    bench.decode(
        LinkType::IPV6,
        &ipv6(44, &join(&[&header(1, 44), &header(1, 44)])),
    );
    assert_eq!(bench.outcome, Outcome::Fragment);
    bench.decode(LinkType::IPV6, &ipv6(44, &second));
    assert_eq!(
        bench.outcome,
        Outcome::Fragment,
        "the inner one waits for its rest"
    );
}

#[test]
fn waiting_fragments_are_given_up() {
    let fragments = split4(&tcp4(), 1, 24);
    let mut bench = Bench::new();
    bench.decode(LinkType::IPV4, &fragments[0]);
    assert_eq!(bench.decoder.fragmented_datagrams(), 1);
    assert!(bench.decoder.fragment_memory() > 0);
    let late = Timestamp::from_parts(1, 0) + FRAGMENT_TIMEOUT;
    bench.decoder.expire(late);
    assert_eq!(bench.decoder.fragmented_datagrams(), 0);
    assert_eq!(bench.decoder.fragment_memory(), 0);
    assert_eq!(bench.decoder.fragment_counters().expired, 1);
}
