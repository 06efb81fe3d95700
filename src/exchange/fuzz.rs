//! Laws of loading, for sources of any kind.

use crate::exchange::Limits;
use crate::exchange::load_reader;
use crate::indicator::Indicator;
use crate::indicator::Intake;
use crate::indicator::Refusal;
use crate::indicator::Taken;
use crate::indicator::Tlp;
use crate::matcher::build::SetBuilder;
use crate::time::Timestamp;
use std::io::Read;

/// Writes down every call, and hands it on to a set in the making.
#[derive(Default)]
struct Record {
    calls: Vec<String>,
    builder: SetBuilder,
}

impl Intake for Record {
    fn begin_source(&mut self, name: &str) {
        self.calls.push(format!("begin {name}"));
        self.builder.begin_source(name);
    }

    fn abandon_source(&mut self) {
        self.calls.push("abandon".to_owned());
        self.builder.abandon_source();
    }

    fn take(&mut self, indicator: &Indicator<'_>) -> Result<Taken, Refusal> {
        let taken = self.builder.take(indicator);
        self.calls.push(format!("{taken:?} {indicator:?}"));
        taken
    }

    fn context(&mut self, id: &str, kind: &str, name: &str) {
        self.calls.push(format!("context {id} {kind} {name}"));
        self.builder.context(id, kind, name);
    }

    fn relationship(&mut self, source: &str, kind: &str, target: &str) {
        self.calls
            .push(format!("relationship {source} {kind} {target}"));
        self.builder.relationship(source, kind, target);
    }

    fn marking(&mut self, id: &str, tlp: Tlp) {
        self.calls.push(format!("marking {id} {tlp}"));
        self.builder.marking(id, tlp);
    }
}

/// Gives few bytes a read.
struct Trickle<'a> {
    rest: &'a [u8],
    step: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.step = (self.step * 5 + 3) % 64;
        let length = buffer.len().min(1 + self.step);
        self.rest.read(&mut buffer[..length])
    }
}

/// Law: however a source arrives, it loads the same; what counts as loaded is in the set, and
/// every indicator of the set can be explained; a source that fails leaves nothing behind.
pub(crate) fn load(input: &[u8], seen: &mut dyn FnMut(&str)) {
    let mut record = Record::default();
    let limits = Limits::default();
    let loaded = load_reader("in/x", &mut &*input, &limits, &mut record, &mut |_| {});
    for call in &record.calls {
        seen(call);
    }
    seen(&format!("{:?}", loaded.fatal));
    for refused in &loaded.report.refused {
        seen(&refused.reason);
    }
    for warning in &loaded.report.warnings {
        seen(warning);
    }
    // the first bytes tell what a file is: they must be the same
    let window = input.len().clamp(256, limits.window);
    let mut pieces = Record::default();
    let mut trickle = Trickle {
        rest: input,
        step: 0,
    };
    let small = Limits { window, ..limits };
    let again = load_reader("in/x", &mut trickle, &small, &mut pieces, &mut |_| {});
    assert_eq!(pieces.calls, record.calls);
    assert_eq!(format!("{again:?}"), format!("{loaded:?}"));

    let fatal = loaded.fatal.is_some();
    let ended = record.calls.last().is_some_and(|call| call == "abandon");
    assert!(!fatal || ended || record.calls.is_empty(), "not abandoned");
    let built = record.builder.finish(Timestamp::MIN).unwrap();
    let ordinals: Vec<u32> = built.set.ordinals().collect();
    assert_eq!(ordinals.len() as u64, built.set.indicators());
    assert!(!fatal || ordinals.is_empty(), "{} are left", ordinals.len());
    assert!(built.set.indicators() <= loaded.report.loaded);
    for ordinal in ordinals {
        assert!(!built.set.details(ordinal).id.is_empty());
    }
}
