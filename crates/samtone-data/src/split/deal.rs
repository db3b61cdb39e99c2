//! Dealing components to shares.

use std::cmp::Reverse;

use samtone_text::Key;

use super::ties::Component;

/// Gives every share as near as possible to as many queries as it asks for; what no share has room for
/// stays.
///
/// Per component, the place of its share, counted from 1, or 0 for what stays. `None` if all that the
/// shares have room for is less than they ask for, or one of them gets nothing.
pub(super) fn deal(components: &[Component], asked: &[usize], key: Key) -> Option<Vec<usize>> {
    let widest = asked.iter().max().copied().unwrap_or_default();
    let free = components.iter().filter(|component| component.is_free());
    let free = free.map(|component| component.queries).filter(|&queries| queries <= widest);
    if free.sum::<usize>() < asked.iter().sum() {
        return None;
    }
    let order = key.permutation(components.len());
    let mut dealt = Dealt { components, room: asked.to_vec(), parts: vec![0; components.len()] };
    for &component in &order {
        dealt.offer(component);
    }
    for share in 0..asked.len() {
        dealt.round_up(share, &order);
    }
    let has_some = |part| dealt.parts.contains(&part);
    (1..=asked.len()).all(has_some).then_some(dealt.parts)
}

/// What is dealt so far.
struct Dealt<'a> {
    components: &'a [Component],
    /// What each share lacks.
    room: Vec<usize>,
    parts: Vec<usize>,
}

impl Dealt<'_> {
    /// Gives a component to the share with the most room, if that is enough.
    fn offer(&mut self, component: usize) {
        let Component { queries, .. } = self.components[component];
        let roomiest = (0..self.room.len()).max_by_key(|&share| (self.room[share], Reverse(share)));
        let has_room = |share: &usize| queries <= self.room[*share];
        if let Some(share) = roomiest.filter(has_room)
            && self.components[component].is_free()
        {
            self.parts[component] = share + 1;
            self.room[share] -= queries;
        }
    }

    /// Gives a share a component more, if it is then nearer to what it asks for than without, and
    /// something stays.
    fn round_up(&mut self, share: usize, order: &[usize]) {
        let left = || order.iter().copied().filter(|&component| self.parts[component] == 0);
        let staying: usize = left().map(|component| self.components[component].queries).sum();
        let limit = staying.min(2 * self.room[share]);
        let fits = |component: &usize| {
            self.components[*component].is_free() && self.components[*component].queries < limit
        };
        let smallest = left().filter(fits).min_by_key(|&it| self.components[it].queries);
        if let Some(component) = smallest {
            self.parts[component] = share + 1;
            self.room[share] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The queries that each share gets, whatever the seed, of components of these sizes.
    #[track_caller]
    fn check(sizes: &[usize], asked: &[usize], expected: Option<&[usize]>) {
        let component = |&queries: &usize| Component { queries, documents: 1 };
        let components: Vec<Component> = sizes.iter().map(component).collect();
        for seed in 0..20 {
            let parts = deal(&components, asked, Key::new(seed));
            let got = parts.map(|parts| {
                let of = |part| {
                    let its = sizes.iter().zip(&parts).filter(|(_, its)| **its == part);
                    its.map(|(size, _)| size).sum()
                };
                (1..=asked.len()).map(of).collect::<Vec<usize>>()
            });
            assert_eq!(got.as_deref(), expected, "seed {seed}");
        }
    }

    #[test]
    fn shares_get_what_they_ask_for_as_nearly_as_can_be() {
        check(&[1; 100], &[10, 20], Some(&[10, 20]));
        check(&[80, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], &[3, 7], Some(&[3, 7]));
        // One of three too many is nearer than two of three too few, and not the other way round.
        check(&[3; 20], &[11], Some(&[12]));
        check(&[3; 20], &[10], Some(&[9]));
        check(&[5; 20], &[3, 10], Some(&[5, 10]));
        // Something stays.
        check(&[3, 3], &[5], Some(&[3]));
        check(&[1; 10], &[], Some(&[]));
    }

    #[test]
    fn what_belongs_together_can_be_too_much() {
        check(&[95, 1, 1, 1, 1, 1], &[10], None);
        check(&[50, 50], &[10], None);
        check(&[5; 20], &[1, 10], None);
        check(&[40, 40, 1, 1, 1, 1], &[2, 3], None);
    }

    #[test]
    fn what_has_nothing_relevant_stays() {
        let component = |documents| Component { queries: 1, documents };
        let components: Vec<_> = [0, 1, 0, 1, 1, 0].map(component).into();
        for seed in 0..20 {
            let parts = deal(&components, &[2], Key::new(seed)).unwrap();
            assert_eq!([parts[0], parts[2], parts[5]], [0; 3]);
        }
        assert_eq!(deal(&components, &[4], Key::new(0)), None);
    }
}
