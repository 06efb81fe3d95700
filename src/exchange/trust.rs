//! What is added to indicators that their exchange leaves open.

use crate::indicator::Indicator;
use crate::indicator::Intake;
use crate::indicator::Refusal;
use crate::indicator::Taken;
use crate::indicator::Tlp;
use crate::time::Timestamp;

/// Hands indicators on as an exchange is trusted: with a confidence and an end where the exchange
/// gives none.
pub struct Trusted<'a> {
    /// Who takes them.
    pub intake: &'a mut dyn Intake,
    /// 0 to 100, for indicators that state none; `None`: they stay without.
    pub confidence: Option<u8>,
    /// The end of indicators that state none; `None`: they stay without.
    pub valid_until: Option<Timestamp>,
}

impl Intake for Trusted<'_> {
    fn begin_source(&mut self, name: &str) {
        self.intake.begin_source(name);
    }

    fn abandon_source(&mut self) {
        self.intake.abandon_source();
    }

    fn take(&mut self, indicator: &Indicator<'_>) -> Result<Taken, Refusal> {
        let confidence = indicator.confidence.or(self.confidence);
        let valid_until = indicator.valid_until.or(self.valid_until);
        if confidence == indicator.confidence && valid_until == indicator.valid_until {
            return self.intake.take(indicator);
        }
        self.intake.take(&Indicator {
            confidence,
            valid_until,
            ..indicator.clone()
        })
    }

    fn context(&mut self, id: &str, kind: &str, name: &str) {
        self.intake.context(id, kind, name);
    }

    fn relationship(&mut self, source: &str, kind: &str, target: &str) {
        self.intake.relationship(source, kind, target);
    }

    fn marking(&mut self, id: &str, tlp: Tlp) {
        self.intake.marking(id, tlp);
    }
}
