//! Lengths that lie, frames that were cut, and frames made of noise.

use super::*;

#[test]
fn what_follows_the_packet_is_padding() {
    for (name, link, frame) in [
        ("ipv4", LinkType::ETHERNET, ethernet(0x0800, &tcp4())),
        (
            "pppoe",
            LinkType::PPP_ETHER,
            join(&[&[0x11, 0, 0, 1, 0, 60, 0, 0x21], &tcp4()]),
        ),
    ] {
        Bench::of(link, &join(&[&frame, &[0; 20]])).is_tcp4(name);
    }
    let frame = join(&[&ethernet(0x86dd, &udp6()), &[0; 20]]);
    Bench::of(LinkType::ETHERNET, &frame).is_udp6("ipv6");
    // a TCP segment without payload, padded to the shortest frame
    let mut packet = tcp4();
    packet.truncate(40);
    packet[3] = 40;
    packet.extend([0; 6]);
    let bench = Bench::of(LinkType::ETHERNET, &ethernet(0x0800, &packet));
    assert_eq!(
        bench.packet.payload,
        Payload {
            start: 54,
            length: 0,
            missing: 0
        }
    );
    // UDP that is shorter than IP
    let mut packet = udp6();
    packet.extend([0; 4]);
    packet[5] += 4;
    Bench::of(LinkType::IPV6, &packet).is_udp6("udp");
}

#[test]
fn lengths_left_to_the_card() {
    let mut packet = tcp4();
    packet[2..4].fill(0);
    Bench::of(LinkType::IPV4, &packet).is_tcp4("ipv4");
    let mut packet = udp6();
    packet[4..6].fill(0);
    Bench::of(LinkType::IPV6, &packet).is_udp6("ipv6");
    packet[44..46].fill(0);
    Bench::of(LinkType::IPV6, &packet).is_udp6("udp");
    // a UDP length beyond the packet
    let mut packet = udp6();
    packet[44] = 0xff;
    Bench::of(LinkType::IPV6, &packet).is_udp6("udp, beyond");
}

#[test]
fn options_and_extension_headers() {
    let mut options = tcp4();
    options[0] = 0x47;
    options[3] += 8;
    options.splice(20..20, [7, 8, 4, 0, 0, 0, 0, 0]); // record route
    options[28 + 12] = 0x80; // 12 bytes of TCP options
    options[3] += 12;
    options.splice(48..48, [1; 12]);
    Bench::of(LinkType::IPV4, &options).is_tcp4("ipv4 and tcp options");

    let udp = &udp6()[40..];
    let from = |next: u8, headers: &[u8]| {
        let mut packet = ipv6(next, &join(&[headers, udp]));
        packet[8..40].copy_from_slice(&udp6()[8..40]);
        packet
    };
    let hop: &[u8] = &[60, 0, 1, 4, 0, 0, 0, 0]; // next: destination options
    let destination: &[u8] = &[43, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]; // routing
    let routing: &[u8] = &[51, 0, 0, 0, 0, 0, 0, 0]; // authentication
    let authentication: &[u8] = &[44, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9]; // fragment
    let atomic: &[u8] = &[135, 0, 0, 0, 0, 0, 0, 1]; // neither offset nor more; mobility
    let mobility: &[u8] = &[17, 0, 5, 0, 0, 0, 0, 0];
    let chain = join(&[hop, destination, routing, authentication, atomic, mobility]);
    Bench::of(LinkType::IPV6, &from(0, &chain)).is_udp6("chain");

    // mobility alone is the packet
    let bench = Bench::of(LinkType::IPV6, &ipv6(135, &[59, 0, 5, 0, 0, 0, 0, 0]));
    assert_eq!(bench.flow(), "2001:db8::f1 0 > 2001:db8::f2 0 135");
    // and in IPv4 these numbers are no headers
    let bench = Bench::of(LinkType::IPV4, &ipv4(43, &[17, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(bench.flow(), "203.0.113.1 0 > 203.0.113.2 0 43");
    // nothing follows
    let bench = Bench::of(LinkType::IPV6, &join(&[&ipv6(59, &[]), &[0; 6]]));
    assert_eq!(bench.flow(), "2001:db8::f1 0 > 2001:db8::f2 0 59");
    assert_eq!(bench.packet.payload.length, 0);
}

#[test]
fn ports_of_other_transports() {
    let sctp = [0x0b, 0x59, 0x0b, 0x5a, 0, 0, 0, 1, 0, 0, 0, 0, 9, 9, 9, 9];
    let bench = Bench::of(LinkType::IPV4, &ipv4(132, &sctp));
    assert_eq!(bench.flow(), "203.0.113.1 2905 > 203.0.113.2 2906 132");
    assert_eq!(bench.payload(), [9; 4]);
    let udp_lite = [0, 1, 0, 2, 0, 8, 0, 0, 9, 9];
    let bench = Bench::of(LinkType::IPV4, &ipv4(136, &udp_lite));
    assert_eq!(bench.flow(), "203.0.113.1 1 > 203.0.113.2 2 136");
    assert_eq!(bench.payload(), [9; 2]);
}

#[test]
fn anomalies() {
    let with = |mut packet: Vec<u8>, at: usize, byte: u8| {
        packet[at] = byte;
        packet
    };
    let block = with(with(udp6(), 8, 0), 18, 0xff);
    let mut block = with(block, 19, 0xfe);
    block[8..18].fill(0); // ::fffe:0:1 is where IPv4 addresses are kept
    let cases: &[(&str, LinkType, Vec<u8>)] = &[
        ("ethernet.short", LinkType::ETHERNET, vec![0; 13]),
        (
            "ipv4.short",
            LinkType::ETHERNET,
            ethernet(0x0800, &tcp4()[..19]),
        ),
        (
            "ipv4.version",
            LinkType::ETHERNET,
            ethernet(0x0800, &udp6()),
        ),
        ("ipv4.header-length", LinkType::IPV4, with(tcp4(), 0, 0x44)),
        ("ipv4.total-length", LinkType::IPV4, with(tcp4(), 3, 19)),
        ("ipv6.version", LinkType::IPV6, tcp4()),
        ("ipv6.reserved-address", LinkType::IPV6, block),
        (
            "ipv6.extension",
            LinkType::IPV6,
            ipv6(0, &[17, 9, 0, 0, 0, 0, 0, 0]),
        ),
        ("ip.version", LinkType::RAW, with(tcp4(), 0, 0x55)),
        ("ip.short", LinkType::RAW, vec![]),
        ("tcp.short", LinkType::IPV4, ipv4(6, &[0; 19])),
        ("tcp.data-offset", LinkType::IPV4, with(tcp4(), 32, 0x40)),
        ("tcp.data-offset", LinkType::IPV4, with(tcp4(), 32, 0xf0)),
        ("udp.short", LinkType::IPV4, ipv4(17, &[0; 7])),
        (
            "udp.length",
            LinkType::IPV4,
            ipv4(17, &[0, 1, 0, 2, 0, 7, 0, 0]),
        ),
        ("transport.short", LinkType::IPV4, ipv4(132, &[0; 3])),
        (
            "pppoe.version",
            LinkType::PPP_ETHER,
            vec![0x21, 0, 0, 1, 0, 0],
        ),
        (
            "radiotap.version",
            LinkType::IEEE802_11_RADIOTAP,
            vec![1; 8],
        ),
        (
            "nflog.length",
            LinkType::NFLOG,
            vec![2, 0, 0, 0, 3, 0, 0, 0],
        ),
        (
            "nflog.no-payload",
            LinkType::NFLOG,
            vec![2, 0, 0, 0, 4, 0, 1, 0],
        ),
        (
            "frame.layers",
            LinkType::ETHERNET,
            ethernet(0x8100, &[0, 1, 0x81, 0].repeat(300)),
        ),
    ];
    for (kind, link, frame) in cases {
        assert_eq!(
            Bench::of(*link, frame).outcome,
            Outcome::Anomaly(kind),
            "{frame:02x?}"
        );
    }
}

#[test]
fn a_mapped_address_in_ipv6_is_not_the_ipv4_address() {
    let mut packet = udp6();
    packet[8..18].fill(0);
    packet[18..24].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 1]);
    let bench = Bench::of(LinkType::IPV6, &packet);
    assert_eq!(bench.flow(), "::ffff:192.0.2.1 40000 > 2001:db8::2 53 17");
    assert!(!bench.packet.source.is_v4());
}

#[test]
fn frames_cut_by_the_snap_length() {
    let frame = ethernet(0x0800, &tcp4());
    let mut bench = Bench::new();
    for length in 0..frame.len() {
        let outcome = bench.decode_cut(LinkType::ETHERNET, &frame[..length], frame.len());
        if length < 54 {
            assert_eq!(outcome, Outcome::Anomaly("frame.cut"), "{length}");
        } else {
            assert_eq!(outcome, Outcome::Packet, "{length}");
            assert_eq!(bench.flow(), TCP4);
            assert_eq!(bench.payload(), &PAYLOAD[..length - 54]);
            assert_eq!(bench.packet.payload.missing as usize, frame.len() - length);
        }
    }
    // the padding of the frame is not missed
    bench.decode_cut(LinkType::ETHERNET, &frame, 100);
    bench.is_tcp4("padding cut");
    // within the options of TCP
    let mut packet = tcp4();
    packet[32] = 0x90; // 36 bytes of header
    let frame = ethernet(0x0800, &packet);
    for (length, start, missing) in [(54, 54, 2), (60, 60, 2), (71, 70, 1)] {
        bench.decode_cut(LinkType::ETHERNET, &frame[..length], frame.len());
        let payload = bench.packet.payload;
        let expected = (start, length as u32 - start, missing);
        assert_eq!((payload.start, payload.length, payload.missing), expected);
    }
    // a capture that does not tell the length on the wire: IP does
    bench.decode(LinkType::ETHERNET, &frame[..71]);
    assert_eq!(bench.packet.payload.missing, 1);
    // in a tunnel: the tunnel's own flow while the headers inside are cut
    let frame = ethernet(0x0800, &ipv4(4, &tcp4()));
    bench.decode_cut(LinkType::ETHERNET, &frame[..60], frame.len());
    assert_eq!(bench.flow(), "203.0.113.1 0 > 203.0.113.2 0 4");
    assert_eq!(bench.decoder.inner_anomaly(), Some("frame.cut"));
    bench.decode_cut(LinkType::ETHERNET, &frame[..76], frame.len());
    assert_eq!(bench.flow(), TCP4);
    assert_eq!(bench.payload(), b"GE");
}

#[test]
fn noise_does_no_harm() {
    let links: Vec<LinkType> = (0..300).map(LinkType).collect();
    let known = [
        0, 1, 9, 10, 12, 14, 50, 51, 101, 104, 105, 108, 109, 113, 117, 119, 127, 163, 192, 204,
        228, 229, 239, 276,
    ]
    .map(LinkType);
    let vxlan = [8, 0, 0, 0, 0, 0, 7, 0];
    let deep = ethernet(
        0x0800,
        &udp4(9, 4789, &join(&[&vxlan, &ethernet(0x86dd, &udp6())])),
    );
    let mut fragment = ipv6(44, &join(&[&[17, 0, 0, 1, 0, 0, 0, 1], &[7; 64]]));
    fragment.extend([0; 8]);
    let wlan = join(&[
        &[0x88, 1, 0, 0],
        &[7; 18],
        &[0, 0, 0x85, 0],
        &[0xaa, 0xaa, 3],
        &tcp4(),
    ]);
    let seeds = [
        ethernet(0x0800, &tcp4()),
        ethernet(0x8847, &join(&[&[0, 1, 1, 64], &deep])),
        ethernet(0x8864, &join(&[&[0x11, 0, 0, 1, 0, 60, 0, 0x21], &tcp4()])),
        ethernet(
            0x0800,
            &ipv4(47, &join(&[&[0xf0, 0, 0x22, 0xeb], &[0; 40], &deep])),
        ),
        ethernet(
            0x0800,
            &udp4(9, 2152, &join(&[&[0x37, 0xff, 0, 90], &[1; 20], &tcp4()])),
        ),
        ethernet(
            0x0800,
            &udp4(3544, 2000, &join(&[&[0, 1, 3, 3], &[0; 15], &udp6()])),
        ),
        ethernet(
            0x0800,
            &udp4(9, 1701, &join(&[&[0x4a, 2, 0, 90], &[0; 12], &tcp4()])),
        ),
        ethernet(
            0x0800,
            &udp4(9, 6081, &join(&[&[3, 0, 0x65, 0x58], &[0; 16], &deep])),
        ),
        ethernet(0x86dd, &fragment),
        deep,
        join(&[&[0, 0, 17, 0, 3, 0, 0, 0], &[0x30; 9], &wlan]),
        join(&[&[0, 0, 20, 0, 105, 0, 0, 0, 2, 0, 8, 0], &[1; 8], &wlan]),
        join(&[
            &[2, 0, 0, 5, 5, 0, 10, 0, b'x', 0, 0, 0, 62, 0, 9, 0],
            &tcp4(),
        ]),
        tcp4(),
        udp6(),
    ];
    let mut random = Random(42);
    let mut bench = Bench::new();
    let mut packets = 0;
    for round in 0..60_000 {
        let seed = random.below(seeds.len());
        let mut frame = if round % 8 == 0 {
            (0..random.below(200))
                .map(|_| random.below(256) as u8)
                .collect()
        } else {
            seeds[seed].clone()
        };
        for _ in 0..random.below(6) {
            if frame.is_empty() {
                break;
            }
            let at = random.below(frame.len());
            match random.below(5) {
                0 => frame[at] = random.below(256) as u8,
                1 => frame[at] ^= 1 << random.below(8),
                2 => frame.truncate(at),
                3 => frame.insert(at, [0, 0xff, 0x45, 0x60][random.below(4)]),
                _ => {
                    let from = random.below(frame.len());
                    let piece: Vec<u8> = frame[from..].iter().take(16).copied().collect();
                    frame.splice(at..at, piece);
                }
            }
        }
        let link = match random.below(8) {
            0 => links[random.below(links.len())],
            1 => known[random.below(known.len())],
            _ => match seed {
                0..10 => LinkType::ETHERNET,
                10 => LinkType::IEEE802_11_RADIOTAP,
                11 => LinkType::PPI,
                12 => LinkType::NFLOG,
                _ => LinkType::RAW,
            },
        };
        let wire = match random.below(4) {
            0 => frame.len() + random.below(2_000),
            1 => random.below(100),
            2 => [0, u32::MAX as usize][random.below(2)],
            _ => frame.len(),
        };
        let outcome = bench.decode_cut(link, &frame, wire);
        assert!(bench.decoder.tunnels().len() <= MAX_TUNNEL_DEPTH);
        assert!(bench.decoder.fragment_memory() <= MAX_FRAGMENT_MEMORY);
        if outcome == Outcome::Packet {
            packets += 1;
            let payload = bench.packet.payload;
            let bytes = if bench.packet.reassembled {
                bench.decoder.reassembled()
            } else {
                &frame
            };
            assert!(payload.start as usize + payload.length as usize <= bytes.len());
        } else {
            assert!(bench.decoder.inner_anomaly().is_none());
        }
    }
    assert!(
        packets > 10_000,
        "{packets}: the noise should not drown everything"
    );
}
