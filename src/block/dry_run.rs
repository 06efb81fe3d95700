//! A firewall that only counts: what would be blocked, were blocking enforced.

use crate::block::Backend;
use crate::block::BlockError;
use crate::block::Cause;
use crate::block::Element;
use crate::block::Held;
use crate::block::Synced;
use crate::block::plan::Hold;
use crate::block::plan::Key;
use crate::block::plan::Plan;
use crate::block::target::Target;
use crate::time::Timestamp;

/// Holds blocks in memory, for as long as the kernel would, and blocks nothing.
#[derive(Debug, Default)]
pub struct DryRun {
    held: Plan,
    /// Of the latest call that had a time.
    now: Timestamp,
    is_paused: bool,
}

impl DryRun {
    /// One that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of elements that would be held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none would be.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn holds(&self) -> impl Iterator<Item = (Key, Hold)> {
        self.held.iter().map(|(key, hold)| (*key, hold.clone()))
    }
}

impl Backend for DryRun {
    fn sync(&mut self, plan: &Plan, now: Timestamp) -> Result<Synced, BlockError> {
        self.now = now;
        let by_hand = self.holds().filter(|(_, h)| h.cause == Cause::Operator);
        let wanted = plan.iter().map(|(key, hold)| (*key, hold.clone()));
        let next = Plan::merge(by_hand.chain(wanted), now);
        let difference = self.held.difference(&next);
        let renewed = difference
            .set
            .iter()
            .filter(|(key, _)| self.held.hold(key).is_some())
            .count();
        self.held = next;
        Ok(Synced {
            added: difference.set.len() - renewed,
            renewed,
            removed: difference.remove.len(),
            restored: false,
        })
    }

    fn add(&mut self, elements: &[Element], now: Timestamp) -> Result<usize, BlockError> {
        self.now = now;
        let new = Plan::new(elements, now);
        let next = Plan::merge(
            self.holds()
                .chain(new.iter().map(|(key, hold)| (*key, hold.clone()))),
            now,
        );
        let changed = self.held.difference(&next).set.len();
        self.held = next;
        Ok(changed)
    }

    fn release(&mut self, target: Target) -> Result<bool, BlockError> {
        let mut was_held = false;
        let kept: Vec<(Key, Hold)> = self
            .holds()
            .flat_map(|(key, hold)| {
                let left = key.without(target);
                was_held |= left.as_slice() != [key];
                left.into_iter().map(move |key| (key, hold.clone()))
            })
            .collect();
        self.held = Plan::merge(kept, self.now);
        Ok(was_held)
    }

    fn list(&mut self) -> Result<Vec<Held>, BlockError> {
        Ok(self
            .held
            .iter()
            .map(|(key, hold)| Held {
                key: *key,
                indicator: hold.indicator.clone(),
                cause: Some(hold.cause),
                remaining: Some(hold.until.since(self.now)),
                packets: 0,
                bytes: 0,
            })
            .collect())
    }

    fn is_disturbed(&mut self) -> Result<bool, BlockError> {
        Ok(false)
    }

    fn pause(&mut self) -> Result<(), BlockError> {
        self.is_paused = true;
        Ok(())
    }

    fn resume(&mut self) -> Result<(), BlockError> {
        self.is_paused = false;
        Ok(())
    }

    fn is_paused(&mut self) -> Result<bool, BlockError> {
        Ok(self.is_paused)
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        self.held = Plan::default();
        self.is_paused = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_the_kernel_would() {
        let now = Timestamp::from_parts(100, 0);
        let element = |target: &str, cause| Element {
            target: target.parse().unwrap(),
            until: Timestamp::from_parts(200, 0),
            indicator: "i".into(),
            cause,
        };
        let told = |backend: &mut DryRun| {
            let held = backend.list().unwrap();
            let mut keys: Vec<String> = held.iter().map(|h| h.key.to_string()).collect();
            keys.sort();
            keys.join(" ")
        };
        let mut backend = DryRun::new();
        let by_hand = element("192.0.2.1", Cause::Operator);
        assert_eq!(backend.add(&[by_hand], now).unwrap(), 1);
        let plan = Plan::new(
            &[
                element("192.0.2.2", Cause::Intel),
                element("198.51.100.0/24", Cause::Intel),
            ],
            now,
        );
        let synced = backend.sync(&plan, now).unwrap();
        assert_eq!((synced.added, synced.renewed, synced.removed), (2, 0, 0));
        assert_eq!(backend.sync(&plan, now).unwrap(), Synced::default());
        assert_eq!(told(&mut backend), "192.0.2.1 192.0.2.2 198.51.100.0/24");

        assert!(!backend.release("198.51.101.1".parse().unwrap()).unwrap());
        assert!(backend.release("198.51.100.0/25".parse().unwrap()).unwrap());
        assert!(!backend.release("198.51.100.0/25".parse().unwrap()).unwrap());
        assert!(backend.release("192.0.2.2".parse().unwrap()).unwrap());
        assert_eq!(told(&mut backend), "192.0.2.1 198.51.100.128/25");

        // what was blocked by hand stays until its time is over
        let synced = backend.sync(&Plan::default(), now).unwrap();
        assert_eq!((synced.added, synced.removed), (0, 1));
        assert_eq!(told(&mut backend), "192.0.2.1");
        let later = Timestamp::from_parts(200, 0);
        backend.sync(&Plan::default(), later).unwrap();
        assert!(backend.is_empty());
    }
}
