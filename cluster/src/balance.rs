//! Bounded loads: how much each node should have, and moving things from those with too much to those with too
//! little by the fewest moves.
//!
//! Nodes and shards are numbers here, and what is shared out is either copies or primaries: [`crate::placement`] says
//! through [`Loads`] what may move where. The trick is to look for a *chain* of moves. Where zones forbid that a node
//! with too much gives anything to one with too little, a third may take from the one and give to the other. The
//! shortest chain is found by a breadth-first search from all who have too much, so one move is made wherever one
//! will do.
//!
//! No two moves of a shortest chain get into each other's way: if they concern the same shard, the first of these
//! nodes could have given to the last at once, and the chain would not be the shortest.

/// How far a node may be above its fair share, or below, as a factor.
const TOLERANCE: f64 = 1.05;

/// Smaller than any true difference between a share and a whole number, larger than the error of its computation.
const ROUNDING: f64 = 1e-6;

/// Halvings of an interval until a level is as exact as a float can be.
const HALVINGS: usize = 128;

/// A node that gets a share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    /// Its weight, more than 0.
    pub(crate) weight: f64,
    /// The most that it can have.
    pub(crate) limit: f64,
}

/// Shares in proportion to weight; what a limit keeps from one goes to the others. `total` is what there is to share.
pub(crate) fn shares(claims: &[Claim], total: f64) -> Vec<f64> {
    let level = level(|level| poured(claims, level), highest(claims), total);
    claims.iter().map(|claim| share(claim, level)).collect()
}

/// Shares in proportion to weight, where the claims of a zone must add up to `least..=most` of that zone. A claim's
/// zone is the number at its place in `zone_of`.
pub(crate) fn zoned_shares(
    claims: &[Claim],
    zone_of: &[usize],
    zones: &[(f64, f64)],
    total: f64,
) -> Vec<f64> {
    let mut members = vec![Vec::new(); zones.len()];
    for (index, zone) in zone_of.iter().enumerate() {
        members[*zone].push(index);
    }
    let of_zone: Vec<Vec<Claim>> =
        members.iter().map(|members| members.iter().map(|index| claims[*index]).collect()).collect();
    let zone_total = |zone: usize, level: f64| {
        let (least, most) = zones[zone];
        poured(&of_zone[zone], level).max(least).min(most)
    };
    let common =
        level(|level| (0..zones.len()).map(|zone| zone_total(zone, level)).sum(), highest(claims), total);
    let mut result = vec![0.0; claims.len()];
    for (zone, members) in members.iter().enumerate() {
        let within = shares(&of_zone[zone], zone_total(zone, common));
        for (index, share) in members.iter().zip(within) {
            result[*index] = share;
        }
    }
    result
}

/// The share of a claim when each unit of weight gets `level`.
fn share(claim: &Claim, level: f64) -> f64 {
    (claim.weight * level).min(claim.limit)
}

fn poured(claims: &[Claim], level: f64) -> f64 {
    claims.iter().map(|claim| share(claim, level)).sum()
}

/// The level at which every claim has reached its limit.
fn highest(claims: &[Claim]) -> f64 {
    claims.iter().map(|claim| claim.limit / claim.weight).fold(0.0, f64::max)
}

/// The lowest level in `0..=highest` at which `poured` reaches `total`.
fn level(poured: impl Fn(f64) -> f64, highest: f64, total: f64) -> f64 {
    let (mut low, mut high) = (0.0, highest);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if poured(middle) < total {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// How much a node should have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Its fair share.
    pub(crate) fair: f64,
    /// With less it is given more, if others can spare it.
    pub(crate) least: usize,
    /// With more it has to give.
    pub(crate) most: usize,
}

impl Bounds {
    pub(crate) fn around(fair: f64) -> Self {
        Self {
            fair,
            least: (fair / TOLERANCE + ROUNDING).floor() as usize,
            most: (fair * TOLERANCE - ROUNDING).ceil() as usize,
        }
    }

    /// The load as a multiple of the fair share; 0 for nothing of nothing.
    pub(crate) fn relative(&self, load: usize) -> f64 {
        if load == 0 { 0.0 } else { load as f64 / self.fair }
    }
}

/// Who has what, and what may move.
pub(crate) trait Loads {
    /// Of how many shards this node has something.
    fn load(&self, node: usize) -> usize;
    /// Which shards these are, those first that are given away most cheaply.
    fn offers(&self, node: usize) -> impl Iterator<Item = usize>;
    /// Tells of each node whether it may have what `from` has of the shard.
    fn may_have(&self, shard: usize, from: usize) -> impl Fn(usize) -> bool;
    /// Lets `to` have it.
    fn make_move(&mut self, shard: usize, from: usize, to: usize);
}

/// Brings every node within its bounds, as far as chains of moves can.
pub(crate) fn balance(loads: &mut impl Loads, bounds: &[Bounds]) {
    let too_much = |bounds: &Bounds, load: usize| load > bounds.most;
    let some_room = |bounds: &Bounds, load: usize| load < bounds.most;
    let rich = |bounds: &Bounds, load: usize| load as f64 > bounds.fair;
    let to_spare = |bounds: &Bounds, load: usize| load > bounds.least;
    let too_little = |bounds: &Bounds, load: usize| load < bounds.least;
    shift(loads, bounds, too_much, too_little);
    shift(loads, bounds, too_much, some_room);
    shift(loads, bounds, rich, too_little);
    shift(loads, bounds, to_spare, too_little);
}

/// Moves from nodes that give to nodes that take, until there are none of one sort or no chain between them.
fn shift(
    loads: &mut impl Loads,
    bounds: &[Bounds],
    gives: impl Fn(&Bounds, usize) -> bool,
    takes: impl Fn(&Bounds, usize) -> bool,
) {
    let one_sort = |loads: &dyn Fn(usize) -> usize, sort: &dyn Fn(&Bounds, usize) -> bool| -> Vec<usize> {
        (0..bounds.len()).filter(|node| sort(&bounds[*node], loads(*node))).collect()
    };
    loop {
        let load = |node: usize| loads.load(node);
        let takers = one_sort(&load, &takes);
        let mut givers = one_sort(&load, &gives);
        if takers.is_empty() || givers.is_empty() {
            return;
        }
        let relative = |node: &usize| bounds[*node].relative(load(*node));
        givers.sort_by(|a, b| relative(b).total_cmp(&relative(a)));
        let Some(chain) = shortest_chain(loads, bounds, givers, &takers) else {
            return;
        };
        for Move { shard, from, to } in chain {
            debug_assert!(loads.may_have(shard, from)(to));
            loads.make_move(shard, from, to);
        }
    }
}

#[derive(Clone, Copy)]
struct Move {
    shard: usize,
    from: usize,
    to: usize,
}

/// A shortest chain of moves from a giver to a taker: where one move will do, of the first giver that can make it, the
/// first shard that it offers, and the taker with relatively least.
fn shortest_chain(
    loads: &impl Loads,
    bounds: &[Bounds],
    givers: Vec<usize>,
    takers: &[usize],
) -> Option<Vec<Move>> {
    let mut reached_by: Vec<Option<Move>> = vec![None; bounds.len()];
    let mut gives = vec![false; bounds.len()];
    givers.iter().for_each(|node| gives[*node] = true);
    let mut unreached: Vec<usize> = (0..bounds.len()).filter(|node| !gives[*node]).collect();
    let mut frontier = givers;
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for from in frontier {
            for shard in loads.offers(from) {
                let before = next.len();
                let may_have = loads.may_have(shard, from);
                unreached.retain(|&to| {
                    let reached = may_have(to);
                    if reached {
                        reached_by[to] = Some(Move { shard, from, to });
                        next.push(to);
                    }
                    !reached
                });
                let relative = |node: usize| bounds[node].relative(loads.load(node));
                let reached = next[before..].iter().copied();
                let end = reached
                    .filter(|node| takers.binary_search(node).is_ok())
                    .min_by(|a, b| relative(*a).total_cmp(&relative(*b)).then(a.cmp(b)));
                if let Some(end) = end {
                    let steps = std::iter::successors(reached_by[end], |step| reached_by[step.from]);
                    let mut chain: Vec<Move> = steps.collect();
                    chain.reverse();
                    return Some(chain);
                }
            }
        }
        frontier = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn claims(of: &[(u32, u32)]) -> Vec<Claim> {
        of.iter()
            .map(|(weight, limit)| Claim { weight: f64::from(*weight), limit: f64::from(*limit) })
            .collect()
    }

    fn rounded(shares: Vec<f64>) -> Vec<f64> {
        shares.iter().map(|share| (share * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn shares_follow_weights_and_what_one_cannot_have_goes_to_the_others() {
        assert_eq!(rounded(shares(&claims(&[(1, 90), (2, 90), (3, 90)]), 60.0)), [10.0, 20.0, 30.0]);
        assert_eq!(rounded(shares(&claims(&[(10, 60), (1, 60), (1, 60)]), 120.0)), [60.0, 30.0, 30.0]);
        assert_eq!(rounded(shares(&claims(&[(1, 5), (u32::MAX, 7)]), 12.0)), [5.0, 7.0]);
        assert_eq!(shares(&[], 12.0), []);
    }

    #[test]
    fn a_zone_has_its_least_and_its_most() {
        // One node must have what nine others share.
        let ten = claims(&[(1, 90); 10]);
        let zone_of = [0, 1, 1, 1, 1, 1, 1, 1, 1, 1];
        let forced = zoned_shares(&ten, &zone_of, &[(90.0, 90.0); 2], 180.0);
        assert_eq!(rounded(forced), [90.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0]);
        // Bounds that hold anyway change nothing.
        let free = zoned_shares(&ten, &zone_of, &[(0.0, 90.0); 2], 60.0);
        assert_eq!(rounded(free), [6.0; 10]);
    }

    #[test]
    fn bounds_are_five_percent_off_and_whole() {
        let of = |fair| (Bounds::around(fair).least, Bounds::around(fair).most);
        assert_eq!(of(20.0), (19, 21));
        assert_eq!(of(21.0), (20, 23));
        assert_eq!(of(2.56), (2, 3));
        assert_eq!(of(0.3), (0, 1));
        assert_eq!(of(0.0), (0, 0));
    }

    /// Nodes that may only give to the next one in the row.
    struct Row(Vec<BTreeSet<usize>>);

    impl Loads for Row {
        fn load(&self, node: usize) -> usize {
            self.0[node].len()
        }
        fn offers(&self, node: usize) -> impl Iterator<Item = usize> {
            self.0[node].iter().copied()
        }
        fn may_have(&self, _: usize, from: usize) -> impl Fn(usize) -> bool {
            move |to| to == from + 1
        }
        fn make_move(&mut self, shard: usize, from: usize, to: usize) {
            assert!(self.0[from].remove(&shard) && self.0[to].insert(shard));
        }
    }

    #[test]
    fn what_cannot_be_given_at_once_is_given_through_a_chain() {
        let mut row = Row(vec![(0..6).collect(), (6..8).collect(), BTreeSet::new()]);
        balance(&mut row, &[Bounds::around(8.0 / 3.0); 3]);
        let loads: Vec<_> = row.0.iter().map(BTreeSet::len).collect();
        assert_eq!(loads, [3, 3, 2]);
    }

    #[test]
    fn a_load_that_nobody_can_take_stays() {
        let mut row = Row(vec![BTreeSet::new(), (0..6).collect()]);
        balance(&mut row, &[Bounds::around(3.0); 2]);
        assert_eq!((row.0[0].len(), row.0[1].len()), (0, 6));
    }
}
