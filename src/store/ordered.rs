//! A hash table whose items lie in the order of their hashes.
//!
//! It serves the keyspace and the large forms of sets and hashes. The order makes an iteration out of any hash value:
//! a cursor is the next hash to visit, and it keeps its meaning however the table grows, shrinks or moves to another
//! node in between, so an item that is there throughout is visited (the guarantee of SCAN).
//!
//! The trick: items are kept sorted in pages of at most [`PAGE`]. Hashes are uniform, so the place of one within its
//! page is found by interpolation, in one or two cache lines. A full page is split in two by the next bit of the hash
//! (extendible hashing), hence growth moves at most one page of items at a time, whatever the size of the table.

/// Items in a page before it is split.
pub const PAGE: usize = 128;

/// A page is not split where that would make the directory this many times as long as there are pages: so many equal
/// leading bits come by an attack on the hash, not by chance. The page then grows beyond its size instead.
const SPARSEST: usize = 64;

/// What a table holds.
pub trait Item {
    /// Something that a page knows of its items, kept by the owner of the table.
    type Note: Default + Copy + std::fmt::Debug;

    /// The item's hash, the same for as long as it is in the table.
    fn hash(&self) -> u32;
}

/// Where an item is, until the table is next changed.
#[derive(Clone, Copy, Debug)]
pub struct Pos {
    page: u32,
    index: u32,
}

/// The table.
#[derive(Clone, Debug)]
pub struct Ordered<T: Item> {
    shape: Shape<T>,
    len: usize,
}

#[derive(Clone, Debug)]
enum Shape<T: Item> {
    One(Page<T>),
    Many(Box<Directory<T>>),
}

#[derive(Clone, Debug)]
struct Page<T: Item> {
    items: Vec<T>,
    note: T::Note,
    /// How many leading bits of the hash all items of this page share.
    depth: u8,
}

#[derive(Clone, Debug)]
struct Directory<T: Item> {
    /// How many leading bits of a hash choose the place in `places`.
    depth: u8,
    places: Vec<u32>,
    pages: Vec<Page<T>>,
}

impl<T: Item> Default for Page<T> {
    fn default() -> Self {
        Self { items: Vec::new(), note: T::Note::default(), depth: 0 }
    }
}

impl<T: Item> Default for Ordered<T> {
    fn default() -> Self {
        Self { shape: Shape::One(Page::default()), len: 0 }
    }
}

impl<T: Item> Ordered<T> {
    /// Number of items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that the table itself takes, without what its items own elsewhere.
    pub fn heap_bytes(&self) -> usize {
        let page = |page: &Page<T>| page.items.capacity() * size_of::<T>();
        match &self.shape {
            Shape::One(one) => page(one),
            Shape::Many(many) => {
                let pages: usize = many.pages.iter().map(page).sum();
                pages + many.pages.capacity() * size_of::<Page<T>>() + many.places.capacity() * 4
            }
        }
    }

    /// Finds the item with this hash that `is` accepts.
    pub fn find(&self, hash: u32, is: impl Fn(&T) -> bool) -> Option<Pos> {
        let number = self.page_of(hash);
        let items = &self.page(number).items;
        let from = lower_bound(items, hash);
        let run = items[from..].iter().take_while(|item| item.hash() == hash);
        let index = from + run.enumerate().find(|(_, item)| is(item))?.0;
        Some(Pos { page: number, index: index as u32 })
    }

    /// The item at a position.
    pub fn get(&self, pos: Pos) -> &T {
        &self.page(pos.page).items[pos.index as usize]
    }

    /// The item at a position, to change. Its hash must stay.
    pub fn get_mut(&mut self, pos: Pos) -> &mut T {
        &mut self.page_mut(pos.page).items[pos.index as usize]
    }

    /// The note of the page that holds the item at `pos`.
    pub fn note_mut(&mut self, pos: Pos) -> &mut T::Note {
        &mut self.page_mut(pos.page).note
    }

    /// Adds an item, which must not be there yet.
    pub fn insert(&mut self, item: T) -> Pos {
        let hash = item.hash();
        let mut number = self.page_of(hash);
        while self.page(number).items.len() >= PAGE && self.may_split(number) {
            self.split(number);
            number = self.page_of(hash);
        }
        let items = &mut self.page_mut(number).items;
        let index = lower_bound(items, hash);
        // Where keys are few, most tables hold one or two: those are not to pay for four.
        if items.len() == items.capacity() && items.len() < 4 {
            items.reserve_exact(items.len().max(1));
        }
        items.insert(index, item);
        self.len += 1;
        Pos { page: number, index: index as u32 }
    }

    /// Takes an item out.
    pub fn remove(&mut self, pos: Pos) -> T {
        self.len -= 1;
        let items = &mut self.page_mut(pos.page).items;
        let item = items.remove(pos.index as usize);
        give_back(items);
        if self.len == 0 {
            self.shape = Shape::One(Page::default());
        }
        item
    }

    /// Visits items in the order of their hashes, from `from` on, until at least `count` were visited and all that
    /// share the last hash. Returns the hash to go on from, or `None` at the end.
    pub fn scan<'a>(&'a self, from: u32, count: usize, mut visit: impl FnMut(&'a T)) -> Option<u32> {
        let mut last = None;
        for (visited, item) in self.iter_from(from).enumerate() {
            if visited >= count && last != Some(item.hash()) {
                return Some(item.hash());
            }
            visit(item);
            last = Some(item.hash());
        }
        None
    }

    /// All items in the order of their hashes.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.iter_from(0)
    }

    /// The items whose hash is at least `from`, in order.
    pub fn iter_from(&self, from: u32) -> impl Iterator<Item = &T> {
        let number = self.page_of(from);
        let first = &self.page(number).items;
        let rest = self.pages_after(number, from);
        first[lower_bound(first, from)..].iter().chain(rest.flat_map(|page| &page.items))
    }

    /// An item chosen evenly by `random`, which is to give any 64 bits each time it is called.
    pub fn sample(&self, mut random: impl FnMut() -> u64) -> Option<Pos> {
        if self.is_empty() {
            return None;
        }
        let pages = match &self.shape {
            Shape::One(_) => 1,
            Shape::Many(many) => many.pages.len(),
        };
        let fullest = if pages == 1 { self.len } else { PAGE };
        loop {
            // Pages are not equally full: a page and a place are drawn, and a place beyond the page's end again.
            let bits = random();
            let page = ((bits >> 32) as usize * pages) >> 32;
            let index = (bits as u32 as usize * fullest) >> 32;
            if index < self.page(page as u32).items.len() {
                return Some(Pos { page: page as u32, index: index as u32 });
            }
        }
    }

    /// Visits the items of the pages whose note `wants` accepts, from the page of the hash `from` on, for as long as
    /// `visit` says so and `budget` lasts: an item costs 1, and so does a page that is passed over.
    pub fn visit_wanted(
        &self,
        from: u32,
        budget: &mut usize,
        wants: impl Fn(T::Note) -> bool,
        mut visit: impl FnMut(&T) -> bool,
    ) {
        let number = self.page_of(from);
        for page in std::iter::once(self.page(number)).chain(self.pages_after(number, from)) {
            if *budget == 0 {
                return;
            }
            let wanted = wants(page.note);
            *budget = budget.saturating_sub(if wanted { page.items.len().max(1) } else { 1 });
            if wanted && !page.items.iter().all(&mut visit) {
                return;
            }
        }
    }

    /// Goes through the pages that `sweep` wants by their note, from page `from` on, and takes out the items that it
    /// dooms. The note of such a page is made anew from the items that stay. An item that is looked at costs 1 of
    /// `budget`, and so does a page that is passed over. Returns the page to go on from once the budget is used up.
    ///
    /// A page stays where it is, or is split into itself and one behind all others, for as long as the table is not
    /// empty: so a sweep that goes on later misses none.
    pub fn sweep(&mut self, from: u32, budget: &mut usize, sweep: &mut impl Sweep<T>) -> Option<u32> {
        let pages = match &mut self.shape {
            Shape::One(one) => std::slice::from_mut(one),
            Shape::Many(many) => &mut many.pages[..],
        };
        let mut removed = 0;
        let mut next = None;
        for (number, page) in (from..).zip(pages.iter_mut().skip(from as usize)) {
            if *budget == 0 {
                next = Some(number);
                break;
            }
            if !sweep.wants(page.note) {
                *budget -= 1;
                continue;
            }
            *budget = budget.saturating_sub(page.items.len().max(1));
            let mut note = T::Note::default();
            let before = page.items.len();
            let gone: Vec<T> = page.items.extract_if(.., |item| sweep.dooms(item, &mut note)).collect();
            gone.into_iter().for_each(|item| sweep.takes(item));
            removed += before - page.items.len();
            page.note = note;
            give_back(&mut page.items);
        }
        self.len -= removed;
        if self.len == 0 {
            self.shape = Shape::One(Page::default());
            return None;
        }
        next
    }

    fn page_of(&self, hash: u32) -> u32 {
        match &self.shape {
            Shape::One(_) => 0,
            Shape::Many(many) => many.places[place(hash, many.depth)],
        }
    }

    fn page(&self, number: u32) -> &Page<T> {
        match &self.shape {
            Shape::One(one) => one,
            Shape::Many(many) => &many.pages[number as usize],
        }
    }

    fn page_mut(&mut self, number: u32) -> &mut Page<T> {
        match &mut self.shape {
            Shape::One(one) => one,
            Shape::Many(many) => &mut many.pages[number as usize],
        }
    }

    /// The pages that follow page `number`, in which `hash` belongs.
    fn pages_after(&self, number: u32, hash: u32) -> impl Iterator<Item = &Page<T>> {
        let many = match &self.shape {
            Shape::One(_) => None,
            Shape::Many(many) => Some(many),
        };
        let mut last = number;
        let mut at = many.map_or(0, |many| place(hash, many.depth));
        std::iter::from_fn(move || {
            let many = many?;
            // A page that is less deep than the directory fills several places in a row.
            while many.places.get(at).is_some_and(|page| *page == last) {
                at += 1;
            }
            last = *many.places.get(at)?;
            Some(&many.pages[last as usize])
        })
    }

    fn may_split(&self, number: u32) -> bool {
        match &self.shape {
            Shape::One(_) => true,
            Shape::Many(many) => {
                let fits = many.pages[number as usize].depth < many.depth;
                fits || (many.depth < 32 && many.places.len() < many.pages.len() * SPARSEST)
            }
        }
    }

    fn split(&mut self, number: u32) {
        if let Shape::One(one) = &mut self.shape {
            let pages = vec![std::mem::take(one)];
            self.shape = Shape::Many(Box::new(Directory { depth: 0, places: vec![0], pages }));
        }
        let Shape::Many(many) = &mut self.shape else {
            return;
        };
        let page = &mut many.pages[number as usize];
        let shared = page.items[0].hash() >> (31 - page.depth) >> 1;
        page.depth += 1;
        let depth = page.depth;
        let middle = page.items.partition_point(|item| item.hash() >> (32 - depth) & 1 == 0);
        let items = page.items.split_off(middle);
        page.items.shrink_to(middle * 3 / 2);
        let upper = Page { items, note: page.note, depth };
        if depth > many.depth {
            many.places = many.places.iter().flat_map(|page| [*page, *page]).collect();
            many.depth += 1;
        }
        let new = many.pages.len() as u32;
        many.pages.push(upper);
        let width = 1 << (many.depth - depth);
        let first = shared as usize * 2 * width;
        many.places[first + width..first + 2 * width].fill(new);
    }
}

/// What [`Ordered::sweep`] does with pages and items.
pub trait Sweep<T: Item> {
    /// Whether a page with this note is looked at.
    fn wants(&mut self, note: T::Note) -> bool;
    /// Whether the item is taken out; for one that stays, what it adds to the note of its page. It may change the item,
    /// but not its hash.
    fn dooms(&mut self, item: &mut T, note: &mut T::Note) -> bool;
    /// Receives an item that was taken out.
    fn takes(&mut self, item: T);
}

/// Gives back the memory of a page that has become far emptier than it was.
fn give_back<T>(items: &mut Vec<T>) {
    if items.len() * 4 < items.capacity() {
        items.shrink_to(items.len() * 2);
    }
}

/// The place of a hash in a directory of `2^depth` places.
fn place(hash: u32, depth: u8) -> usize {
    (u64::from(hash) >> (32 - depth)) as usize
}

/// Index of the first item whose hash is at least `hash`: a guess by interpolation, then a short walk.
fn lower_bound<T: Item>(items: &[T], hash: u32) -> usize {
    let (Some(first), Some(last)) = (items.first(), items.last()) else {
        return 0;
    };
    let (low, high) = (first.hash(), last.hash());
    if hash <= low {
        return 0;
    }
    if hash > high {
        return items.len();
    }
    let share = u64::from(hash - low) * (items.len() as u64 - 1) / u64::from(high - low);
    let mut index = share as usize;
    while items[index].hash() < hash {
        index += 1;
    }
    while index > 0 && items[index - 1].hash() >= hash {
        index -= 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, PartialEq, Clone, Copy)]
    struct Number(u64);

    impl Item for Number {
        type Note = u64;

        fn hash(&self) -> u32 {
            // Few distinct hashes, so that items share them.
            (xxhash_rust::xxh3::xxh3_64(&(self.0 / 3).to_le_bytes()) >> 32) as u32
        }
    }

    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        xxhash_rust::xxh3::xxh3_64(&state.to_le_bytes())
    }

    fn find(table: &Ordered<Number>, number: u64) -> Option<Pos> {
        table.find(Number(number).hash(), |item| item.0 == number)
    }

    #[test]
    fn it_holds_what_a_map_holds_after_any_sequence() {
        let (mut table, mut map, mut seed) = (Ordered::default(), BTreeMap::new(), 1);
        for _ in 0..60_000 {
            let number = random(&mut seed) % 9_000;
            match find(&table, number) {
                Some(pos) => {
                    assert!(map.remove(&number).is_some());
                    assert_eq!(table.remove(pos), Number(number));
                }
                None => {
                    assert!(map.insert(number, ()).is_none());
                    let pos = table.insert(Number(number));
                    assert_eq!(*table.get(pos), Number(number));
                }
            }
            assert_eq!(table.len(), map.len());
        }
        let mut items: Vec<u64> = table.iter().map(|item| item.0).collect();
        assert!(table.iter().is_sorted_by_key(|item| item.hash()));
        items.sort_unstable();
        assert_eq!(items, map.into_keys().collect::<Vec<_>>());
    }

    #[test]
    fn a_scan_visits_what_is_there_throughout_however_the_table_changes() {
        let mut table = Ordered::default();
        (0..3_000).for_each(|number| {
            table.insert(Number(number));
        });
        let (mut seen, mut cursor, mut other, mut seed) = (vec![0; 3_000], Some(0), 3_000, 5);
        while let Some(from) = cursor {
            cursor = table.scan(from, 10, |item| {
                if item.0 < 3_000 {
                    seen[item.0 as usize] += 1;
                }
            });
            for _ in 0..30 {
                table.insert(Number(other));
                other += 1;
            }
            if random(&mut seed).is_multiple_of(2) {
                let gone = (3_000..other).filter(|n| n % 2 == 0).filter_map(|n| find(&table, n).map(|_| n));
                for number in gone.collect::<Vec<_>>() {
                    let pos = find(&table, number).unwrap();
                    table.remove(pos);
                }
            }
        }
        assert!(seen.iter().all(|times| *times == 1));
    }

    #[test]
    fn samples_are_even() {
        let mut table = Ordered::default();
        (0..1_000).for_each(|number| {
            table.insert(Number(number));
        });
        let (mut hits, mut seed) = (vec![0u32; 1_000], 9);
        for _ in 0..100_000 {
            let pos = table.sample(|| random(&mut seed)).unwrap();
            hits[table.get(pos).0 as usize] += 1;
        }
        // Binomial with mean 100: ten standard deviations on either side.
        assert!(hits.iter().all(|n| (1..=200).contains(n)), "{hits:?}");
        assert!(hits.iter().filter(|n| (80..=120).contains(*n)).count() > 900);
    }

    #[test]
    fn items_of_one_hash_outgrow_a_page() {
        #[derive(Debug)]
        struct Same;
        impl Item for Same {
            type Note = ();
            fn hash(&self) -> u32 {
                77
            }
        }
        let mut table = Ordered::default();
        (0..1_000).for_each(|_| {
            table.insert(Same);
        });
        let mut visited = 0;
        assert_eq!(table.scan(0, 10, |_| visited += 1), None);
        assert_eq!(visited, 1_000);
    }

    #[test]
    fn a_sweep_takes_the_doomed_and_visits_only_wanted_pages() {
        struct Even(Vec<u64>);
        impl Sweep<Number> for Even {
            fn wants(&mut self, note: u64) -> bool {
                note == 0
            }
            fn dooms(&mut self, item: &mut Number, note: &mut u64) -> bool {
                *note = 1;
                item.0.is_multiple_of(2)
            }
            fn takes(&mut self, item: Number) {
                self.0.push(item.0);
            }
        }
        let mut table = Ordered::default();
        (0..1_000).for_each(|number| {
            table.insert(Number(number));
        });
        let mut even = Even(Vec::new());
        assert_eq!(table.sweep(0, &mut usize::MAX.clone(), &mut even), None);
        assert_eq!((even.0.len(), table.len()), (500, 500));
        let mut budget = 10_000;
        table.sweep(0, &mut budget, &mut even);
        assert!((1..100).contains(&(10_000 - budget)), "a page that is not wanted costs 1");
        assert_eq!(even.0.len(), 500);
    }

    #[test]
    fn a_sweep_in_small_steps_takes_all_although_pages_are_split_in_between() {
        struct All(usize);
        impl Sweep<Number> for All {
            fn wants(&mut self, _: u64) -> bool {
                true
            }
            fn dooms(&mut self, item: &mut Number, _: &mut u64) -> bool {
                item.0 < 5_000
            }
            fn takes(&mut self, _: Number) {
                self.0 += 1;
            }
        }
        let mut table = Ordered::default();
        (0..5_000).for_each(|number| _ = table.insert(Number(number)));
        let (mut all, mut at, mut steps) = (All(0), Some(0), 0);
        while let Some(from) = at {
            at = table.sweep(from, &mut 1, &mut all);
            steps += 1;
            let more = 5_000 + steps * 50..5_050 + steps * 50;
            more.take(if steps < 100 { 50 } else { 0 }).for_each(|number| _ = table.insert(Number(number)));
        }
        assert_eq!((all.0, table.iter().filter(|item| item.0 < 5_000).count()), (5_000, 0));
        assert!(steps > 40, "{steps}");
    }

    #[test]
    fn a_visit_passes_over_pages_that_are_not_wanted() {
        let mut table = Ordered::default();
        (0..1_000).for_each(|number| _ = table.insert(Number(number)));
        let pos = find(&table, 77).unwrap();
        *table.note_mut(pos) = 1;
        let (mut seen, mut budget) = (Vec::new(), 10_000);
        table.visit_wanted(
            0,
            &mut budget,
            |note| note == 1,
            |item| {
                seen.push(item.0);
                true
            },
        );
        assert!(seen.contains(&77) && seen.len() <= PAGE);
        assert!(10_000 - budget < seen.len() + 40);
        let mut one = 0;
        table.visit_wanted(
            0,
            &mut 10_000,
            |note| note == 1,
            |_| {
                one += 1;
                false
            },
        );
        assert_eq!(one, 1);
    }
}
