//! Offers and moments, and what is served then.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use spiffe::{SpiffeId, X509Context};

use super::{Custody, CustodySettings, Finding};
use crate::config::DefaultSvid;
use crate::sources::{Moment, test_context::Authority};

const HOUR: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);
const ALMOST_A_SECOND: Duration = Duration::from_millis(999);

struct Keeper {
    custody: Custody,
    now: Moment,
}

impl Keeper {
    fn new() -> Self {
        let settings = CustodySettings {
            default_svid: DefaultSvid::default(),
            hold: 10 * SECOND,
            withdrawal_delay: SECOND,
        };
        Self { custody: Custody::new(settings), now: Moment::now() }
    }

    fn offer(&mut self, context: &X509Context) -> Vec<Finding> {
        let mut findings = self.custody.offer(context, self.now);
        findings.extend(self.custody.review(self.now));
        findings
    }

    fn wait(&mut self, time: Duration) -> Vec<Finding> {
        self.now = self.now.plus(time);
        self.custody.review(self.now)
    }

    fn serial(&self) -> Option<String> {
        self.custody.snapshot().default_svid().map(|svid| svid.serial().to_owned())
    }

    fn withdrawn(&self) -> BTreeMap<SpiffeId, SystemTime> {
        self.custody.snapshot().withdrawn
    }

    fn due_in(&self) -> Option<Duration> {
        self.custody.next_review(self.now).map(|at| at - self.now.steady)
    }
}

#[test]
fn a_renewal_by_a_known_authority_is_served_at_once() {
    let authority = Authority::new("example.org");
    let mut keeper = Keeper::new();
    keeper.offer(&Authority::context(&[&authority.svid("/a", HOUR)], &[&authority]));
    let first = keeper.serial().expect("served");
    keeper.offer(&Authority::context(&[&authority.svid("/a", HOUR)], &[&authority]));
    assert_ne!(keeper.serial(), Some(first));
}

#[test]
fn the_same_offer_again_changes_nothing() {
    let authority = Authority::new("example.org");
    let context = Authority::context(&[&authority.svid("/a", HOUR)], &[&authority]);
    let mut keeper = Keeper::new();
    assert_eq!(keeper.offer(&context).len(), 2, "a bundle and a leaf");
    let before = keeper.custody.snapshot();
    assert_eq!(keeper.offer(&context), []);
    assert!(keeper.custody.snapshot().same_as(&before));
}

#[test]
fn a_leaf_of_a_new_authority_waits_until_its_peers_can_know_it() {
    let (old, new) = (Authority::new("example.org"), Authority::new("example.org"));
    let mut keeper = Keeper::new();
    keeper.offer(&Authority::context(&[&old.svid("/a", HOUR)], &[&old]));
    let first = keeper.serial();

    let renewed = new.svid("/a", HOUR);
    let findings = keeper.offer(&Authority::context(&[&renewed], &[&old, &new]));
    assert!(
        matches!(&findings[..], [Finding::Bundle { authorities: 2, .. }, Finding::Held { .. }]),
        "{findings:?}"
    );
    assert_eq!(keeper.due_in(), Some(10 * SECOND));
    keeper.wait(9 * SECOND);
    assert_eq!(keeper.serial(), first);
    assert!(matches!(&keeper.wait(SECOND)[..], [Finding::Served { .. }]));
    assert_ne!(keeper.serial(), first);
}

#[test]
fn a_leaf_that_comes_before_its_authority_waits_for_it() {
    let (old, new) = (Authority::new("example.org"), Authority::new("example.org"));
    let mut keeper = Keeper::new();
    keeper.offer(&Authority::context(&[&old.svid("/a", HOUR)], &[&old]));
    let first = keeper.serial();

    let renewed = new.svid("/a", HOUR);
    let findings = keeper.offer(&Authority::context(&[&renewed], &[&old]));
    assert!(
        matches!(&findings[..], [Finding::UnknownIssuer { .. }, Finding::Held { .. }]),
        "{findings:?}"
    );
    keeper.wait(20 * SECOND);
    assert_eq!(keeper.serial(), first);
    keeper.offer(&Authority::context(&[&renewed], &[&old, &new]));
    keeper.wait(9 * SECOND);
    assert_eq!(keeper.serial(), first, "its peers can have known it for 9 s");
    keeper.wait(SECOND);
    assert_ne!(keeper.serial(), first);
}

#[test]
fn a_leaf_of_an_authority_that_never_comes_is_served_before_the_old_one_ends() {
    let (old, new) = (Authority::new("example.org"), Authority::new("example.org"));
    let mut keeper = Keeper::new();
    keeper.offer(&Authority::context(&[&old.svid("/a", 40 * SECOND)], &[&old]));
    let first = keeper.serial();
    let context = Authority::context(&[&new.svid("/a", HOUR)], &[&old]);
    keeper.offer(&context);
    keeper.wait(19 * SECOND);
    keeper.offer(&context);
    assert_eq!(keeper.serial(), first);
    keeper.wait(SECOND);
    assert_ne!(keeper.serial(), first);
}

#[test]
fn a_hold_takes_at_most_half_of_the_old_leafs_life() {
    let (old, new) = (Authority::new("example.org"), Authority::new("example.org"));
    let mut keeper = Keeper::new();
    keeper.offer(&Authority::context(&[&old.svid("/a", 8 * SECOND)], &[&old]));
    let first = keeper.serial();
    keeper.offer(&Authority::context(&[&new.svid("/a", HOUR)], &[&old, &new]));
    assert_eq!(keeper.serial(), first);
    keeper.wait(4 * SECOND);
    assert_ne!(keeper.serial(), first);
}

#[test]
fn nothing_is_held_back_once_the_old_authority_is_revoked() {
    let (old, new) = (Authority::new("example.org"), Authority::new("example.org"));
    let mut keeper = Keeper::new();
    keeper.offer(&Authority::context(&[&old.svid("/a", HOUR)], &[&old]));
    let first = keeper.serial();
    keeper.offer(&Authority::context(&[&new.svid("/a", HOUR)], &[&new]));
    assert_ne!(keeper.serial(), first);
}

#[test]
fn an_expired_leaf_is_never_served() {
    let authority = Authority::new("example.org");
    let mut keeper = Keeper::new();
    keeper.offer(&Authority::context(&[&authority.svid("/a", 30 * SECOND)], &[&authority]));
    assert!(keeper.due_in().is_some_and(|due| due <= 30 * SECOND));
    let findings = keeper.wait(30 * SECOND);
    assert!(matches!(findings[0], Finding::Expired { .. }), "{findings:?}");
    assert_eq!(keeper.serial(), None);
    assert!(keeper.custody.trouble(keeper.now).is_some_and(|why| why.contains("expired")));
}

#[test]
fn a_leaf_is_served_from_the_moment_it_is_valid() {
    let authority = Authority::new("example.org");
    let mut keeper = Keeper::new();
    keeper.now.wall -= 2 * HOUR;
    let findings = keeper.offer(&Authority::context(&[&authority.svid("/a", HOUR)], &[&authority]));
    assert!(
        matches!(findings[..], [Finding::Bundle { .. }, Finding::Refused { .. }]),
        "{findings:?}"
    );
    let due = keeper.due_in().expect("a time to look again");
    keeper.wait(due);
    assert!(keeper.serial().is_some());
}

/// An entry that is re-created vanishes for milliseconds.
#[test]
fn what_comes_back_before_the_withdrawal_delay_was_never_away() {
    let (ours, theirs) = (Authority::new("example.org"), Authority::new("partner.example"));
    let (one, other) = (ours.svid("/a", HOUR), ours.svid("/b", HOUR));
    let whole = Authority::context(&[&one, &other], &[&ours, &theirs]);
    let less = Authority::context(&[&one], &[&ours]);
    for vanish in [None, Some(&less)] {
        let mut keeper = Keeper::new();
        keeper.offer(&whole);
        let before = keeper.custody.snapshot();
        match vanish {
            None => keeper.custody.withdraw(),
            Some(less) => drop(keeper.custody.offer(less, keeper.now)),
        }
        assert!(keeper.wait(Duration::ZERO).is_empty());
        assert_eq!(keeper.due_in(), Some(SECOND), "looked at again when the delay is over");
        assert!(keeper.wait(ALMOST_A_SECOND).is_empty());
        assert!(keeper.custody.snapshot().same_as(&before));
        assert!(keeper.offer(&whole).is_empty());
        assert!(keeper.wait(HOUR / 2).is_empty());
        assert!(keeper.custody.snapshot().same_as(&before));
    }
}

#[test]
fn a_withdrawal_counts_after_its_delay() {
    let (ours, theirs) = (Authority::new("example.org"), Authority::new("partner.example"));
    let (one, other) = (ours.svid("/a", HOUR), ours.svid("/b", HOUR));
    let mut keeper = Keeper::new();
    keeper.offer(&Authority::context(&[&one, &other], &[&ours, &theirs]));
    keeper.offer(&Authority::context(&[&one], &[&ours]));
    let findings = keeper.wait(SECOND);
    assert!(matches!(findings[..], [Finding::Withdrawn { .. }]), "{findings:?}");
    assert_eq!(keeper.custody.snapshot().svids.len(), 1, "the other is gone");
    assert_eq!(keeper.custody.snapshot().bundles.len(), 2);
    assert_eq!(keeper.due_in(), Some(SECOND));
    keeper.wait(SECOND);
    assert_eq!(keeper.custody.snapshot().bundles.len(), 1, "and then its domain");
    keeper.custody.withdraw();
    keeper.wait(Duration::ZERO);
    keeper.wait(ALMOST_A_SECOND);
    assert!(keeper.serial().is_some());
    keeper.wait(Duration::from_millis(1));
    assert_eq!(keeper.serial(), None);
    assert_eq!(keeper.custody.snapshot().bundles.len(), 1, "trust goes last");
    keeper.wait(SECOND);
    assert!(keeper.custody.snapshot().bundles.is_empty());
}

/// No message takes a certificate from an Envoy: what was withdrawn is remembered until it expires.
#[test]
fn what_was_withdrawn_is_told_until_it_expires_or_is_served_again() {
    let authority = Authority::new("example.org");
    let kept = authority.svid("/a", HOUR);
    let gone = authority.svid("/b", 30 * SECOND);
    let mut keeper = Keeper::new();
    let both = Authority::context(&[&kept, &gone], &[&authority]);
    let one = Authority::context(&[&kept], &[&authority]);
    keeper.offer(&both);
    keeper.offer(&one);
    assert!(keeper.withdrawn().is_empty(), "its delay is not over");
    keeper.wait(SECOND);
    let ends = *keeper.withdrawn().get(gone.spiffe_id()).expect("told");
    keeper.offer(&both);
    assert!(keeper.withdrawn().is_empty(), "it is served again");
    keeper.offer(&one);
    keeper.wait(SECOND);
    assert_eq!(keeper.withdrawn().get(gone.spiffe_id()), Some(&ends));
    keeper.wait(30 * SECOND);
    assert!(keeper.withdrawn().is_empty(), "nobody holds it any more");
}

/// What comes to it is denied until then, and that is said under the default name where no other has it.
#[test]
fn a_default_that_is_withdrawn_is_remembered_until_another_is_chosen() {
    let authority = Authority::new("example.org");
    let [a, b] = ["/a", "/b"].map(|path| authority.svid(path, HOUR));
    let mut keeper = Keeper::new();
    for (issued, default, withdrawn_default) in [
        (&[][..], None, None),
        (&[&a], Some("/a"), None),
        (&[], None, Some("/a")),
        (&[&b], Some("/b"), None),
        (&[&a, &b], Some("/b"), None),
        (&[], None, Some("/b")),
        (&[&a], Some("/a"), None),
    ] {
        keeper.offer(&Authority::context(issued, &[&authority]));
        keeper.wait(SECOND);
        let snapshot = keeper.custody.snapshot();
        let path = |id: &Option<SpiffeId>| id.as_ref().map(|id| id.path().to_owned());
        assert_eq!(path(&snapshot.default).as_deref(), default);
        assert_eq!(path(&snapshot.withdrawn_default).as_deref(), withdrawn_default);
    }
    keeper.offer(&Authority::context(&[], &[&authority]));
    keeper.wait(2 * HOUR);
    assert_eq!(keeper.custody.snapshot().withdrawn_default, None, "it has expired");
}

/// SPIRE names SVIDs in an order that changes when an entry is added.
#[test]
fn the_default_is_the_one_chosen_first_while_it_lives() {
    let authority = Authority::new("example.org");
    let [a, b, c] = ["/a", "/b", "/c"].map(|path| authority.svid(path, HOUR));
    let mut keeper = Keeper::new();
    for (issued, expected) in [
        (&[&c, &b][..], "/b"),
        (&[&a, &b, &c], "/b"),
        (&[&c, &a, &b], "/b"),
        (&[&c, &a], "/a"),
        (&[&b, &c, &a], "/a"),
        (&[], "none"),
        (&[&c, &b, &a], "/a"),
    ] {
        keeper.offer(&Authority::context(issued, &[&authority]));
        keeper.wait(SECOND);
        let default = keeper.custody.snapshot().default;
        let found = default.as_ref().map_or("none", |id| id.path());
        assert_eq!(found, expected, "{} SVIDs", issued.len());
    }
}

#[test]
fn a_pair_that_does_not_match_leaves_the_good_one_in_force() {
    let authority = Authority::new("example.org");
    let mut keeper = Keeper::new();
    keeper.offer(&Authority::context(&[&authority.svid("/a", HOUR)], &[&authority]));
    let first = keeper.serial();
    let ((chain, _), (_, key)) = (authority.pair("/a", HOUR), authority.pair("/a", HOUR));
    let mismatched =
        std::sync::Arc::new(spiffe::X509Svid::parse_from_der(&chain, &key).expect("both parse"));
    let findings = keeper.offer(&Authority::context(&[&mismatched], &[&authority]));
    assert!(matches!(findings[..], [Finding::Refused { .. }]), "{findings:?}");
    assert_eq!(keeper.serial(), first);
    assert!(keeper.custody.trouble(keeper.now).is_some_and(|why| why.contains("private key")));
}
