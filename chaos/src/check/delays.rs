//! What became of delayed messages: I10.

use std::collections::HashMap;

use super::Violations;
use super::logs::Delays;
use crate::history::Id;
use crate::outcome::Told;

/// What is known of one message.
#[derive(Default)]
struct Fate {
    told: Option<Told>,
    due: Option<i64>,
    delivered: u32,
}

/// That each delayed message that is stored was delivered, once; and none before it was due, if clocks were `right`. All of them
/// are due by now. How late they were, in milliseconds, ascending, by the leaders' clocks: store timestamps never fall, so that they
/// say nothing any more once a clock was ahead.
pub fn check(sent: &[(Id, Told)], delays: &Delays, right: bool, violations: &mut Violations) -> Vec<i64> {
    let mut fates: HashMap<Id, Fate> = HashMap::new();
    for (id, told) in sent {
        fates.entry(*id).or_default().told = Some(*told);
    }
    for (id, due) in &delays.scheduled {
        let fate = fates.entry(*id).or_default();
        if fate.due.replace(*due).is_some() {
            violations.add(format!("I10: {id:?} was sent once and waits twice"));
        }
    }
    let mut late = Vec::new();
    for (id, at) in &delays.delivered {
        let fate = fates.entry(*id).or_default();
        fate.delivered += 1;
        match fate.due {
            Some(due) if *at < due && right => {
                violations.add(format!("I10: {id:?} was delivered {} ms before it was due", due - at));
            }
            Some(due) if right => late.push(at - due),
            Some(_) => {}
            None => violations.add(format!("I10: {id:?} was delivered and has never waited")),
        }
    }
    for (id, fate) in &fates {
        match (fate.told, fate.due) {
            (None, _) => violations.add(format!("I2: {id:?} waits, and nobody sent it")),
            (Some(Told::Yes), None) => {
                violations.add(format!("I1: {id:?} was acknowledged and does not wait"))
            }
            (Some(Told::No), Some(_)) => violations.add(format!("I2: {id:?} was refused, and waits")),
            _ => {}
        }
        if fate.due.is_some() && fate.delivered != 1 {
            violations.add(format!("I10: {id:?} was delivered {} times", fate.delivered));
        }
    }
    late.sort_unstable();
    late
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_looked_after() {
        let id = |seq| Id { client: 1, seq };
        let judged = |sent: &[(u32, Told)], scheduled: &[(u32, i64)], delivered: &[(u32, i64)]| {
            let all = |of: &[(u32, i64)]| of.iter().map(|(seq, at)| (id(*seq), *at)).collect();
            let sent: Vec<_> = sent.iter().map(|(seq, told)| (id(*seq), *told)).collect();
            let mut violations = Violations::default();
            let delays = Delays { scheduled: all(scheduled), delivered: all(delivered) };
            check(&sent, &delays, true, &mut violations);
            violations.told.iter().map(|told| told[..3].trim_end_matches(':').to_owned()).collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(judged(&[(1, Told::Yes)], &[(1, 50)], &[(1, 50)]), none);
        assert_eq!(judged(&[(1, Told::Perhaps), (2, Told::Perhaps)], &[(1, 50)], &[(1, 51)]), none);
        assert_eq!(judged(&[(1, Told::No)], &[], &[]), none);
        assert_eq!(judged(&[(1, Told::Yes)], &[], &[]), ["I1"]);
        assert_eq!(judged(&[(1, Told::No)], &[(1, 50)], &[(1, 50)]), ["I2"]);
        assert_eq!(judged(&[], &[(1, 50)], &[(1, 50)]), ["I2"]);
        assert_eq!(judged(&[(1, Told::Yes)], &[(1, 50)], &[(1, 49)]), ["I10"]);
        assert_eq!(judged(&[(1, Told::Yes)], &[(1, 50)], &[]), ["I10"]);
        assert_eq!(judged(&[(1, Told::Yes)], &[(1, 50)], &[(1, 50), (1, 60)]), ["I10"]);
        assert_eq!(judged(&[(1, Told::Perhaps)], &[(1, 50), (1, 60)], &[(1, 60)]), ["I10"]);
        assert_eq!(judged(&[(1, Told::Perhaps)], &[], &[(1, 60)]), ["I10"]);
    }
}
