//! Tunnels, and what is taken for none.

use super::*;

#[test]
fn tunnels_over_ip() {
    let frame = ethernet(0x0800, &tcp4());
    let snap: &[u8] = &[0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00];
    let wlan = join(&[&[0x08, 1, 0, 0], &[7; 18], &[0x10, 0], snap]);
    let cases: &[(&str, u8, &[u8], &[u8])] = &[
        // name, protocol, header, content
        ("ip in ip", 4, &[], &tcp4()),
        ("gre", 47, &[0, 0, 0x08, 0x00], &tcp4()),
        ("gre, checksum", 47, &[0x80, 0, 8, 0, 1, 2, 0, 0], &tcp4()),
        (
            "gre, checksum, key, sequence",
            47,
            &[0xb0, 0, 8, 0, 1, 2, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1],
            &tcp4(),
        ),
        (
            "gre, routing: an entry of 4 bytes, then none",
            47,
            &[
                0x40, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0,
            ],
            &tcp4(),
        ),
        ("gre, Ethernet", 47, &[0, 0, 0x65, 0x58], &frame),
        ("gre, mpls", 47, &[0, 0, 0x88, 0x47, 0, 1, 1, 64], &tcp4()),
        ("gre, wccp 1", 47, &[0, 0, 0x88, 0x3e], &tcp4()),
        ("gre, wccp 2", 47, &[0, 0, 0x88, 0x3e, 0, 0, 0, 0], &tcp4()),
        (
            "gre, 802.11",
            47,
            &join(&[&[0, 0, 0x82, 0x00], &wlan]),
            &tcp4(),
        ),
        (
            "gre 1, sequence: pptp",
            47,
            // flags, PPP, payload length (60), call, sequence; protocol
            &[0x30, 1, 0x88, 0x0b, 0, 60, 0, 5, 0, 0, 0, 1, 0x00, 0x21],
            &tcp4(),
        ),
        (
            "gre 1, sequence and acknowledgment: pptp",
            47,
            &[
                0x30, 0x81, 0x88, 0x0b, 0, 62, 0, 5, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 3, 0, 0x21,
            ],
            &tcp4(),
        ),
        ("erspan 1", 47, &[0, 0, 0x88, 0xbe], &frame),
        (
            "erspan 2",
            47,
            &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 7, 0, 5, 0, 0, 0, 0],
            &frame,
        ),
        (
            "erspan 3",
            47,
            &[
                0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 7, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
            &frame,
        ),
        (
            "erspan 3, the platform's own header",
            47,
            &[
                0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 7, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4,
                5, 6, 7, 8,
            ],
            &frame,
        ),
        (
            "erspan 3, IP",
            47,
            &[
                0x10,
                0,
                0x22,
                0xeb,
                0,
                0,
                0,
                1,
                0x20,
                7,
                0,
                5,
                0,
                0,
                0,
                0,
                0,
                0,
                2 << 2,
                0,
            ],
            &tcp4(),
        ),
        ("ether ip", 97, &[0x30, 0], &frame),
        ("mpls in ip", 137, &[0, 1, 1, 64], &tcp4()),
        ("Ethernet in ip", 143, &[], &frame),
        // next header, length less 2, reserved, index, sequence, value of 12 bytes
        (
            "authentication header, then ip in ip",
            51,
            &[
                4, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
            ],
            &tcp4(),
        ),
    ];
    for (name, protocol, header, content) in cases {
        let content = join(&[header, content]);
        let bench = Bench::of(LinkType::IPV4, &ipv4(*protocol, &content));
        bench.is_tcp4(name);
        assert_eq!(bench.tunnels(), [OUTER4], "{name}");
        let bench = Bench::of(LinkType::IPV6, &ipv6(*protocol, &content));
        bench.is_tcp4(name);
        assert_eq!(bench.tunnels(), [OUTER6], "{name}");
    }
    let bench = Bench::of(LinkType::IPV4, &ipv4(41, &udp6()));
    bench.is_udp6("6in4");
    assert_eq!(bench.tunnels(), [OUTER4]);
    let bench = Bench::of(LinkType::IPV6, &ipv6(41, &udp6()));
    bench.is_udp6("6in6");
    assert_eq!(bench.tunnels(), [OUTER6]);
}

#[test]
fn tunnels_over_udp() {
    let frame = ethernet(0x0800, &tcp4());
    let vlan = ethernet(0x8100, &join(&[&[0, 7, 8, 0], &tcp4()]));
    let cases: &[(&str, u16, &[u8], &[u8])] = &[
        ("gre", 4754, &[0, 0, 0x08, 0x00], &tcp4()),
        ("gre, key", 4754, &[0x20, 0, 0x65, 0x58, 0, 0, 0, 9], &frame),
        // flags, reserved, network identifier, reserved
        ("vxlan", 4789, &[8, 0, 0, 0, 0, 0, 7, 0], &frame),
        (
            "vxlan, Linux's first port",
            8472,
            &[8, 0, 0, 0, 0, 0, 7, 0],
            &frame,
        ),
        ("vxlan, policy", 4789, &[0x88, 0, 0, 5, 0, 0, 7, 0], &frame),
        (
            "vxlan, a VLAN inside",
            4789,
            &[8, 0, 0, 0, 0, 0, 7, 0],
            &vlan,
        ),
        (
            "vxlan, generic, IPv4",
            4790,
            &[0x0c, 0, 0, 1, 0, 0, 7, 0],
            &tcp4(),
        ),
        (
            "vxlan, generic, Ethernet",
            4790,
            &[0x0c, 0, 0, 3, 0, 0, 7, 0],
            &frame,
        ),
        (
            "vxlan, generic, service header",
            4790,
            &[0x0c, 0, 0, 4, 0, 0, 7, 0, 0x0f, 0xc2, 2, 3, 0, 0, 1, 255],
            &frame,
        ),
        ("geneve", 6081, &[0, 0, 0x65, 0x58, 0, 0, 7, 0], &frame),
        (
            "geneve, 8 bytes of options, IPv4",
            6081,
            &[2, 0x40, 0x08, 0x00, 0, 0, 7, 0, 1, 2, 0x80, 1, 9, 9, 9, 9],
            &tcp4(),
        ),
        // flags, a packet, length, tunnel
        ("gtp", 2152, &[0x30, 0xff, 0, 58, 0, 0, 0, 7], &tcp4()),
        (
            "gtp, sequence",
            2152,
            &[0x32, 0xff, 0, 62, 0, 0, 0, 7, 0, 1, 0, 0],
            &tcp4(),
        ),
        (
            "gtp, an extension of 4 bytes and one of 8",
            2152,
            &[
                0x34, 0xff, 0, 74, 0, 0, 0, 7, 0, 0, 0, 0x85, // ...; the first one's type
                1, 0x10, 1, 0xc0, 2, 0, 0, 0, 0, 0, 0,
                0, // units, content, the next one's type
            ],
            &tcp4(),
        ),
        // flags (length), length, tunnel, session; PPP
        (
            "l2tp",
            1701,
            &[0x40, 2, 0, 70, 0, 1, 0, 2, 0xff, 3, 0x00, 0x21],
            &tcp4(),
        ),
        (
            "l2tp, sequence and offset",
            1701,
            &[
                0x0a, 2, 0, 1, 0, 2, 0, 0, 0, 0, 0, 2, 9, 9, 0xff, 3, 0x00, 0x21,
            ],
            &tcp4(),
        ),
    ];
    for (name, port, header, content) in cases {
        let content = join(&[header, content]);
        let bench = Bench::of(LinkType::IPV4, &udp4(50_000, *port, &content));
        bench.is_tcp4(name);
        assert_eq!(bench.tunnels(), [OUTER4], "{name}");
        assert_eq!(
            bench.packet.vlan.id(),
            None,
            "{name}: a VLAN of another network"
        );
        Bench::of(LinkType::IPV4, &udp4(*port, 50_000, &content)).is_tcp4(name);
        // to a well-known service, whatever the source
        let bench = Bench::of(LinkType::IPV4, &udp4(*port, 53, &content));
        assert_eq!(
            bench.flow(),
            format!("203.0.113.1 {port} > 203.0.113.2 53 17")
        );
        assert_eq!(bench.payload(), content);
        // a port that is none
        let bench = Bench::of(LinkType::IPV4, &udp4(50_000, port + 20, &content));
        assert_eq!(bench.payload(), content);
    }
}

#[test]
fn teredo() {
    let authentication = [0, 1, 1, 2, b'c', b'v', b'v', 1, 2, 3, 4, 5, 6, 7, 8, 0];
    let origin = [0, 0, 0x12, 0x34, 1, 2, 3, 4];
    for header in [
        vec![],
        origin.to_vec(),
        authentication.to_vec(),
        join(&[&authentication, &origin]),
    ] {
        let datagram = udp4(3544, 50_000, &join(&[&header, &udp6()]));
        let bench = Bench::of(LinkType::IPV4, &datagram);
        bench.is_udp6("teredo");
        assert_eq!(bench.tunnels(), [OUTER4]);
    }
    // of another length, it is a guess that only a Teredo address confirms
    let mut inner = join(&[&udp6(), &[1, 2, 0, 0]]);
    let datagram = udp4(3544, 50_000, &inner);
    assert!(Bench::of(LinkType::IPV4, &datagram).tunnels().is_empty());
    inner[8..12].copy_from_slice(&[0x20, 0x01, 0, 0]);
    let bench = Bench::of(LinkType::IPV4, &udp4(3544, 50_000, &inner));
    assert_eq!(bench.tunnels(), [OUTER4]);
    assert_eq!(bench.payload(), PAYLOAD);
}

#[test]
fn what_only_has_the_port_is_udp() {
    let frame = ethernet(0x0800, &tcp4());
    let cases: &[(u16, &[u8], &[u8])] = &[
        (2152, &[0x50, 0xff, 0, 58, 0, 0, 0, 7], &tcp4()), // another version
        (2152, &[0x30, 0x01, 0, 58, 0, 0, 0, 7], &tcp4()), // an echo request
        (2152, &[0x30, 0xff, 1, 58, 0, 0, 0, 7], &tcp4()), // longer than it is
        (
            2152,
            &[0x34, 0xff, 0, 66, 0, 0, 0, 7, 0, 0, 0, 0x85, 0, 0, 0, 0],
            &tcp4(),
        ), // no length
        (4754, &[0x40, 0, 0x08, 0x00], &tcp4()),           // routing
        (4789, &[0, 0, 0, 0, 0, 0, 7, 0], &frame),         // no flag
        (6081, &[0x40, 0, 0x65, 0x58, 0, 0, 7, 0], &frame), // version 1
        (6081, &[0, 0x80, 0x65, 0x58, 0, 0, 7, 0], &frame), // a control message
        (6081, &[0, 0, 0x12, 0x34, 0, 0, 7, 0], &frame),   // what is it?
        (3544, &[], &tcp4()),                              // IPv4
        (1701, &[0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0], &[]), // a control message
        (
            1701,
            &[0x40, 3, 0, 70, 0, 1, 0, 2, 0xff, 3, 0x00, 0x21],
            &tcp4(),
        ), // version 3
    ];
    for (port, header, content) in cases {
        let content = join(&[header, content]);
        let bench = Bench::of(LinkType::IPV4, &udp4(50_000, *port, &content));
        assert_eq!(bench.outcome, Outcome::Packet, "{port} {header:?}");
        assert_eq!(bench.packet.destination_port, *port);
        assert_eq!(bench.payload(), content, "{port} {header:?}");
        assert!(bench.tunnels().is_empty());
        assert_eq!(bench.decoder.inner_anomaly(), None);
    }
}

#[test]
fn a_tunnel_with_something_bad_inside_is_its_own_flow() {
    let vxlan = [8, 0, 0, 0, 0, 0, 7, 0];
    let arp = ethernet(0x0806, &[0; 28]);
    let mut bad = tcp4();
    bad[0] = 0x43; // a header of 12 bytes
    let mut long = tcp4();
    long[3] += 1; // one byte longer than what encloses it
    let cases: &[(Vec<u8>, Option<&str>, &str)] = &[
        (
            ipv4(4, &bad),
            Some("ipv4.header-length"),
            "203.0.113.1 0 > 203.0.113.2 0 4",
        ),
        (
            ipv4(4, &long),
            Some("ipv4.total-length"),
            "203.0.113.1 0 > 203.0.113.2 0 4",
        ),
        (
            ipv4(41, &tcp4()),
            Some("ipv6.version"),
            "203.0.113.1 0 > 203.0.113.2 0 41",
        ),
        (
            ipv4(47, &[0, 5, 8, 0]),
            Some("gre.version"),
            "203.0.113.1 0 > 203.0.113.2 0 47",
        ),
        (
            udp4(9, 4789, &join(&[&vxlan, &arp])),
            None,
            "203.0.113.1 9 > 203.0.113.2 4789 17",
        ),
        (
            udp4(9, 4789, &join(&[&vxlan, &ethernet(0x0800, &bad)])),
            Some("ipv4.header-length"),
            "203.0.113.1 9 > 203.0.113.2 4789 17",
        ),
    ];
    for (packet, inner, flow) in cases {
        let bench = Bench::of(LinkType::IPV4, packet);
        assert_eq!(bench.outcome, Outcome::Packet);
        assert_eq!(bench.flow(), *flow);
        assert_eq!(bench.decoder.inner_anomaly(), *inner);
        assert!(bench.tunnels().is_empty());
        // and within another tunnel, that one counts
        let bench = Bench::of(LinkType::IPV6, &ipv6(4, packet));
        assert_eq!(bench.flow(), *flow);
        assert_eq!(bench.tunnels(), [OUTER6]);
    }
    // the anomaly is the last frame's alone
    let mut bench = Bench::of(LinkType::IPV4, &ipv4(4, &bad));
    assert!(bench.decoder.inner_anomaly().is_some());
    bench.decode(LinkType::IPV4, &tcp4());
    bench.is_tcp4("the next frame");
}

#[test]
fn a_mirrored_frame_may_be_cut() {
    let frame = ethernet(0x0800, &tcp4());
    let content = join(&[&[0, 0, 0x88, 0xbe], &frame[..frame.len() - 8]]);
    let bench = Bench::of(LinkType::IPV4, &ipv4(47, &content));
    assert_eq!(bench.flow(), TCP4);
    assert_eq!(bench.payload(), &PAYLOAD[..PAYLOAD.len() - 8]);
    assert_eq!(bench.packet.payload.missing, 8);
}

#[test]
fn nests_to_the_named_depth() {
    for depth in 0..=MAX_TUNNEL_DEPTH {
        let mut packet = tcp4();
        for i in 0..depth {
            packet = if i % 2 == 0 {
                ipv6(4, &packet)
            } else {
                ipv4(if i == 0 { 4 } else { 41 }, &packet)
            };
        }
        let bench = Bench::of(LinkType::RAW, &packet);
        bench.is_tcp4("nested");
        assert_eq!(bench.tunnels().len(), depth);
    }
    let mut packet = tcp4();
    for _ in 0..=MAX_TUNNEL_DEPTH {
        packet = ipv4(4, &packet);
    }
    let bench = Bench::of(LinkType::RAW, &packet);
    assert_eq!(bench.outcome, Outcome::Packet);
    assert_eq!(bench.flow(), "203.0.113.1 0 > 203.0.113.2 0 4");
    assert_eq!(bench.tunnels().len(), MAX_TUNNEL_DEPTH);
    assert_eq!(bench.decoder.inner_anomaly(), Some("tunnel.depth"));
}

#[test]
fn messages_quoted_in_icmp_errors_are_not_followed() {
    let quoted = join(&[&[3, 1, 0, 0, 0, 0, 0, 0], &tcp4()]);
    let bench = Bench::of(LinkType::IPV4, &ipv4(1, &quoted));
    assert_eq!(bench.flow(), "203.0.113.1 0 > 203.0.113.2 0 1");
    assert_eq!(bench.payload(), quoted);
}
