//! Requests whose keys are on several nodes: split, run where the keys are, and put together again.
//!
//! On one node such a request is atomic, since all its shards are locked together. Over several nodes it is not: each
//! node's part is.

use ringfort_cluster::ShardId;
use ringfort_protocol::{Args, OwnedArgs, Resp, elements};

use super::{
    Origin, Place, Request, Route, Router, asked,
    blocked::{Ending, Several},
    frame::Written,
    hold::Stay,
    steps::{Asked, Job},
};
use crate::{
    commands::{
        CHECK, Command, CommandError, Find, Gather, Reply, Run, Spread, UNBALANCED, error::is_error,
        generic::among::Among,
    },
    store::Key,
};

/// Requests of one loop that may be split at a time.
const GATHERS_LIMIT: usize = 100_000;

/// A request whose parts are under way.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) origin: Origin,
    /// What is kept of what a client asked, where the reply may be large.
    asked: Option<Vec<Vec<u8>>>,
    gather: Gather,
    resp: Resp,
    /// Of each part, the places of its keys among the keys of the request, and its reply once it is there.
    parts: Vec<Part>,
    missing: usize,
    written: Written,
    /// Its parts wait for data: the first that has any, or fails, ends the wait of the others.
    pub(super) waits: bool,
    /// How the wait is to end.
    pub(super) ending: Option<Ending>,
}

#[derive(Debug, Default)]
struct Part {
    keys: Vec<usize>,
    /// How many shards it is run on.
    shards: usize,
    is_sent: bool,
    reply: Vec<u8>,
}

impl Gathering {
    /// So many parts, none of which is there yet.
    pub(super) fn new(origin: Origin, gather: Gather, parts: usize) -> Self {
        let parts: Vec<Part> = (0..parts).map(|_| Part::default()).collect();
        let (missing, written, resp) = (parts.len(), Written::new(), Default::default());
        Self { origin, asked: None, gather, resp, parts, missing, written, waits: false, ending: None }
    }
}

impl Router {
    /// `stay` is that of the request as a whole.
    pub(super) fn spread(&mut self, origin: Origin, request: Request<'_>, keys: &[Key<'_>], stay: Stay) {
        if self.gathers.len() + self.jobs.len() + self.awaits.len() >= GATHERS_LIMIT {
            let error = CommandError::other("ERR too many requests over several nodes are under way");
            return self.fail(origin, &error);
        }
        match request.command.spread {
            // One that has waited was checked when it came.
            Spread::Keys(Gather::Deliveries) if !request.waited => {
                self.deliver(origin, request);
            }
            Spread::Keys(gather) if gather.is_of_streams() => {
                self.spread_keys(origin, request, keys, gather, stay);
            }
            Spread::InTurn => self.await_any(origin, request),
            _ if request.may_wait() => self.await_any(origin, request),
            Spread::Keys(gather) => self.spread_keys(origin, request, keys, gather, stay),
            _ if matches!(request.command.run, Run::Among) => self.spread_again(origin, request),
            Spread::Everywhere(gather) => {
                let shards = (0..self.node.store.shards()).map(ShardId);
                self.spread_among(origin, request, gather, shards);
            }
            Spread::Carry => self.carry(origin, request, keys),
            Spread::Cursor => self.scan(origin, request),
            Spread::Together => self.assemble(origin, request, keys),
            Spread::Refused => {
                let text = format!(
                    "CROSSSLOT The keys of '{}' are on different nodes; give them a common hash tag, \
                     as in {{tag}}key, to use them together",
                    request.command.name
                );
                self.fail(origin, &CommandError::made(text));
            }
        }
    }

    /// What is delivered cannot be taken back where another part is refused. So every part is asked first whether it
    /// would be.
    fn deliver(&mut self, origin: Origin, request: Request<'_>) {
        let args: OwnedArgs =
            std::iter::once(CHECK.name.as_bytes()).chain(request.args.iter().skip(1)).collect();
        let asked = self.take_on(origin, request);
        self.step(Job::Deliver(asked), &CHECK, request.db, &args);
    }

    /// No part would be refused; or, if the reply is null, that is not known of all parts since the wait is over.
    pub(super) fn deliver_checked(&mut self, asked: Asked, reply: &[u8]) {
        let request = asked.request.as_request().to_owned();
        let request = request.as_request();
        // Meanwhile the client may have gone. If its time is over, it is answered what is there.
        match self.ending_of(asked.origin, &request) {
            None => {}
            Some(Ending::TimedOut) if !is_null(reply) => {}
            Some(ending) => return self.end_job(asked, ending.reply(request.resp)),
        }
        let keys = self.keys(request.command, request.args);
        let origin = Origin::Step(self.jobs.insert(Job::Delivered(asked)));
        let stay = self.new_stay(&request);
        self.spread_keys(origin, request, &keys, Gather::Deliveries, stay);
    }

    fn spread_keys(
        &mut self,
        origin: Origin,
        request: Request<'_>,
        keys: &[Key<'_>],
        gather: Gather,
        stay: Stay,
    ) {
        let layout = match Layout::of(&request, keys.len(), gather) {
            Ok(layout) => layout,
            Err(error) => return self.fail(origin, &error),
        };
        let mut targets: Vec<(Route, Vec<usize>)> = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let route = self.route(key.slot);
            // A stream that has nothing leaves no trace in a reply, so each is asked for alone.
            match if gather.is_of_streams() {
                None
            } else {
                targets.iter_mut().find(|target| target.0 == route)
            } {
                Some(target) => target.1.push(index),
                None => targets.push((route, vec![index])),
            }
        }
        let parts = targets.iter().map(|target| Part { keys: target.1.clone(), ..Part::default() }).collect();
        let gather = self.begin(origin, request, gather, parts);
        let asker = self.asker(origin);
        if let Some(blocked) = self.blocked_by(asker) {
            blocked.several = Some(Several::Parts(gather));
            self.gathers[gather].ending = blocked.ending;
        }
        for (part, (route, indices)) in targets.into_iter().enumerate() {
            let args = layout.part(request.args, &indices);
            let keys: Vec<Key<'_>> = indices.iter().map(|index| keys[*index]).collect();
            // None of it is over before its last part is sent.
            let gathering = &mut self.gathers[gather];
            gathering.parts[part].is_sent = true;
            let ending = gathering.ending;
            let waits = gathering.waits && ending.is_none();
            let request = Request { args: args.as_args(), waits, ..request };
            let mut stay = self.new_stay(&request).of(stay);
            // Where one has something already, the others are only looked at.
            if ending == Some(Ending::Served) {
                stay = stay.for_last_look(self.now.boot);
            }
            self.submit_with(Origin::Part { gather, part }, request, &keys, Place::from(route), stay);
        }
        match self.gathers.get(gather) {
            Some(Gathering { waits: true, ending: None, .. }) => self.tell_that_it_waits(asker, true, None),
            // If its time is over, or a part refuses, none is to wait for its shard.
            Some(Gathering { ending: Some(Ending::TimedOut), .. }) => {
                self.end_wait_of_parts(gather, Ending::TimedOut);
            }
            _ => {}
        }
    }

    /// Whose wait it is where a request is split.
    fn asker(&self, origin: Origin) -> Origin {
        match origin {
            Origin::Step(job) => match self.jobs.get(job) {
                Some(Job::Deliver(asked) | Job::Delivered(asked)) => asked.origin,
                _ => origin,
            },
            _ => origin,
        }
    }

    fn is_waiting(&self, gather: usize) -> bool {
        self.gathers.get(gather).is_some_and(|gathering| gathering.waits && gathering.ending.is_none())
    }

    /// The wait for several parts is to end: what they have is answered, or how it has ended where none has anything.
    pub(super) fn end_wait_of_parts(&mut self, gather: usize, ending: Ending) {
        let Some(gathering) = self.gathers.get_mut(gather) else { return };
        gathering.ending = Some(ending);
        let parts = gathering.parts.iter().enumerate();
        let open: Vec<usize> =
            parts.filter(|(_, part)| part.is_sent && part.reply.is_empty()).map(|(part, _)| part).collect();
        // The reply is made of theirs.
        let ending = if ending == Ending::Served { ending } else { Ending::TimedOut };
        open.into_iter().for_each(|part| self.cancel(Origin::Part { gather, part }, ending));
    }

    /// Has these shards' owners run a command once for each.
    fn spread_among(
        &mut self,
        origin: Origin,
        request: Request<'_>,
        gather: Gather,
        shards: impl Iterator<Item = ShardId>,
    ) {
        let mut owners: Vec<(Place, Vec<ShardId>)> = Vec::new();
        for shard in shards {
            let place = Place::from(self.routes[usize::from(shard.0)]);
            match owners.iter_mut().find(|owner| owner.0 == place) {
                Some(owner) => owner.1.push(shard),
                None => owners.push((place, vec![shard])),
            }
        }
        let part = |(_, shards): &(Place, Vec<ShardId>)| Part { shards: shards.len(), ..Part::default() };
        let gather = self.begin(origin, request, gather, owners.iter().map(part).collect());
        for (part, (place, shards)) in owners.into_iter().enumerate() {
            let (command, args) = Among::ask(request.command, shards.into_iter(), request.args);
            let request = Request { command, args: args.as_args(), ..request };
            self.submit(Origin::Part { gather, part }, request, &[], place);
        }
    }

    /// Splits a part whose shards have parted.
    fn spread_again(&mut self, origin: Origin, request: Request<'_>) {
        match Among::parse(request.args, self.node.store.shards()) {
            Ok(Among { shards, command, args, .. }) => {
                let request = Request { command, args, ..request };
                self.spread_among(origin, request, gather_of(command), shards.into_iter());
            }
            Err(error) => self.fail(origin, &error),
        }
    }

    fn begin(&mut self, origin: Origin, request: Request<'_>, gather: Gather, parts: Vec<Part>) -> usize {
        let (missing, written, resp, waits) = (parts.len(), Written::new(), request.resp, request.waits);
        let may_be_large = gather.is_of_streams() || matches!(gather, Gather::PerKey | Gather::Concat);
        let is_told = may_be_large && matches!(origin, Origin::Client { .. });
        let asked = if is_told { asked(&request) } else { None };
        let ending = None;
        self.gathers.insert(Gathering { origin, asked, gather, resp, parts, missing, written, waits, ending })
    }

    pub(super) fn gather(&mut self, gather: usize, part: usize, reply: Vec<u8>, written: Written) {
        let Some(gathering) = self.gathers.get_mut(gather) else { return };
        gathering.parts[part].reply = reply;
        gathering.written.extend(written);
        gathering.missing -= 1;
        let reply = &gathering.parts[part].reply;
        let (has_some, ending) =
            (!is_null(reply), if is_error(reply) { Ending::TimedOut } else { Ending::Served });
        if gathering.missing > 0 {
            let refuses = gathering.gather == Gather::Checks && ending == Ending::TimedOut;
            if refuses || has_some && self.is_waiting(gather) {
                self.end_wait_of_parts(gather, ending);
            }
            return;
        }
        let whole = self.gathers.remove(gather);
        if let Some(ending) = whole.ending.filter(|_| whole.parts.iter().all(|part| is_null(&part.reply))) {
            return self.complete(whole.origin, ending.reply(whole.resp), whole.written);
        }
        let mut out = Reply::new(whole.resp);
        match whole.gather {
            Gather::PerKey => put_by_key(&whole.parts, &mut out),
            how => {
                let parts = whole.parts.into_iter();
                let (weights, replies): (Vec<_>, Vec<_>) =
                    parts.map(|part| (part.shards, part.reply)).unzip();
                put_together(how, &replies, &weights, &mut out, self.dice.roll());
            }
        }
        self.answer_to(whole.origin, out.into_bytes(), whole.written, || whole.asked);
    }
}

/// Puts the replies of a command that was run shard by shard together. `weights` say how many keys each shard has.
pub(super) fn combine(
    request: &Request<'_>,
    replies: &[Vec<u8>],
    weights: &[usize],
    out: &mut Reply,
    random: u64,
) {
    put_together(gather_of(request.command), replies, weights, out, random);
}

fn gather_of(command: &Command) -> Gather {
    match command.spread {
        Spread::Everywhere(gather) | Spread::Keys(gather) => gather,
        Spread::Together | Spread::InTurn | Spread::Refused | Spread::Carry | Spread::Cursor => Gather::AllOk,
    }
}

fn put_together(how: Gather, replies: &[Vec<u8>], weights: &[usize], out: &mut Reply, random: u64) {
    let mut errors = replies.iter().filter(|reply| is_error(reply));
    let has_some = |reply: &Vec<u8>| elements(reply).is_some_and(|mut elements| elements.next().is_some());
    let is_delivered = how == Gather::Deliveries && replies.iter().any(has_some);
    if let Some(error) = errors.next().filter(|_| !is_delivered) {
        out.bytes.extend_from_slice(error);
        return;
    }
    match how {
        Gather::Sum => out.int(replies.iter().filter_map(|reply| integer(reply)).sum()),
        Gather::Min => out.int(replies.iter().filter_map(|reply| integer(reply)).min().unwrap_or(0)),
        Gather::Checks if replies.iter().any(|reply| is_null(reply)) => out.null_array(),
        Gather::AllOk | Gather::Checks | Gather::PerKey => out.ok(),
        Gather::Concat => {
            let all: Vec<&[u8]> = replies.iter().filter_map(|reply| elements(reply)).flatten().collect();
            out.array(all.len());
            all.iter().for_each(|element| out.bytes.extend_from_slice(element));
        }
        Gather::Streams | Gather::Deliveries => {
            let all: Vec<&[u8]> = replies.iter().filter_map(|reply| elements(reply)).flatten().collect();
            match (all.len(), out.resp) {
                (0, _) => out.null_array(),
                (len, Resp::V2) => out.array(len),
                (len, Resp::V3) => out.map(len / 2),
            }
            all.iter().for_each(|element| out.bytes.extend_from_slice(element));
        }
        Gather::AnyOne => {
            let weighted = replies.iter().zip(weights).filter(|(reply, _)| !is_null(reply));
            let all: usize = weighted.clone().map(|(_, weight)| weight).sum();
            let mut at = (random as usize).checked_rem(all).unwrap_or(0);
            let chosen = weighted.clone().find(|(_, weight)| {
                let found = at < **weight;
                at = at.wrapping_sub(**weight);
                found
            });
            match chosen {
                None => out.null(),
                Some((reply, _)) => out.bytes.extend_from_slice(reply),
            }
        }
    }
}

/// One array with an element for each key, in the order of the request.
fn put_by_key(parts: &[Part], out: &mut Reply) {
    if let Some(part) = parts.iter().find(|part| is_error(&part.reply)) {
        out.bytes.extend_from_slice(&part.reply);
        return;
    }
    let count = parts.iter().map(|part| part.keys.len()).sum();
    let mut by_key: Vec<&[u8]> = vec![b"$-1\r\n"; count];
    for part in parts {
        for (key, element) in part.keys.iter().zip(elements(&part.reply).into_iter().flatten()) {
            by_key[*key] = element;
        }
    }
    out.array(count);
    by_key.iter().for_each(|element| out.bytes.extend_from_slice(element));
}

/// Where the words that belong to each key are among the arguments.
#[derive(Clone, Copy)]
struct Layout {
    /// The first key. All in front of it belongs to each.
    first: usize,
    /// From one key to the next.
    step: usize,
    /// From one word of a key to its next one.
    stride: usize,
    /// How many words each key has, itself included.
    words: usize,
}

impl Layout {
    fn of(request: &Request<'_>, keys: usize, gather: Gather) -> Result<Self, CommandError> {
        let (args, spec) = (request.args, request.command.keys.first());
        if gather.is_of_streams() {
            let first = spec.and_then(|spec| spec.indices(args).next()).ok_or(CommandError::Syntax)?;
            let layout = Self { first, step: 1, stride: keys, words: 2 };
            return if args.len() == first + 2 * keys { Ok(layout) } else { Err(UNBALANCED) };
        }
        let step = match spec.map(|spec| spec.find) {
            Some(Find::Range { step, .. }) => usize::from(step),
            _ => 1,
        };
        match (args.len() - 1).is_multiple_of(step) {
            true => Ok(Self { first: 1, step, stride: 1, words: step }),
            false => Err(CommandError::Arity(request.command.name.into())),
        }
    }

    /// The arguments for some of the keys.
    fn part(self, args: Args<'_>, keys: &[usize]) -> OwnedArgs {
        let mut part: OwnedArgs = args.iter().take(self.first).collect();
        let mut push =
            |key: usize, word: usize| part.push(args.at(self.first + key * self.step + word * self.stride));
        if self.stride == 1 {
            keys.iter().for_each(|key| (0..self.words).for_each(|word| push(*key, word)));
        } else {
            (0..self.words).for_each(|word| keys.iter().for_each(|key| push(*key, word)));
        }
        part
    }
}

fn integer(reply: &[u8]) -> Option<i64> {
    let digits = reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

pub(super) fn is_null(reply: &[u8]) -> bool {
    reply.starts_with(b"$-1") || reply.starts_with(b"_") || reply.starts_with(b"*-1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(how: Gather, replies: &[&str]) -> String {
        put_weighted(how, replies, &[1; 8], 0)
    }

    fn put_weighted(how: Gather, replies: &[&str], weights: &[usize], random: u64) -> String {
        let mut out = Reply::default();
        let replies: Vec<Vec<u8>> = replies.iter().map(|reply| reply.as_bytes().to_vec()).collect();
        put_together(how, &replies, weights, &mut out, random);
        String::from_utf8(out.into_bytes()).unwrap()
    }

    #[test]
    fn replies_are_put_together() {
        assert_eq!(put(Gather::Sum, &[":2\r\n", ":40\r\n"]), ":42\r\n");
        assert_eq!(put(Gather::AllOk, &["+OK\r\n", "-ERR no\r\n"]), "-ERR no\r\n");
        let arrays = ["*1\r\n$1\r\na\r\n", "*0\r\n", "*2\r\n:1\r\n*1\r\n:2\r\n"];
        assert_eq!(put(Gather::Concat, &arrays), "*3\r\n$1\r\na\r\n:1\r\n*1\r\n:2\r\n");
        assert_eq!(put(Gather::AnyOne, &["$-1\r\n", "$1\r\na\r\n", "_\r\n"]), "$1\r\na\r\n");
        assert_eq!(put(Gather::AnyOne, &["$-1\r\n"]), "$-1\r\n");
    }

    #[test]
    fn streams_are_put_in_the_order_of_the_request() {
        let nothing = "*-1\r\n";
        let (a, b) = ("*1\r\n*2\r\n$1\r\na\r\n*0\r\n", "*1\r\n*2\r\n$1\r\nb\r\n*0\r\n");
        let both = "*2\r\n*2\r\n$1\r\na\r\n*0\r\n*2\r\n$1\r\nb\r\n*0\r\n";
        assert_eq!(put(Gather::Streams, &[a, nothing, b]), both);
        assert_eq!(put(Gather::Streams, &[nothing, nothing]), nothing);
        assert_eq!(put(Gather::Streams, &[a, "-ERR no\r\n"]), "-ERR no\r\n");
    }

    #[test]
    fn what_was_delivered_is_answered_whatever_else_happened() {
        let (nothing, error) = ("*-1\r\n", "-ERR no\r\n");
        let a = "*1\r\n*2\r\n$1\r\na\r\n*0\r\n";
        assert_eq!(put(Gather::Deliveries, &[error, a, nothing]), a);
        assert_eq!(put(Gather::Deliveries, &[nothing, error]), error);
        assert_eq!(put(Gather::Deliveries, &[nothing, nothing]), nothing);
    }

    #[test]
    fn each_stream_is_asked_for_with_its_id() {
        let part = |text: &str, keys: &[usize]| {
            let args: OwnedArgs = text.split(' ').map(str::as_bytes).collect();
            let command = crate::commands::find(args.as_args().at(0)).unwrap();
            let (args, Spread::Keys(gather)) = (args.as_args(), command.spread) else { panic!("{text}") };
            let request = Request {
                command,
                args,
                db: 0,
                resp: Resp::V2,
                silent: false,
                door: crate::clients::Door::Client,
                replica: false,
                waits: false,
                waited: false,
            };
            let count = command.keys[0].indices(args).count();
            Layout::of(&request, count, gather).map(|layout| {
                let part = layout.part(args, keys);
                let words = part.as_args().iter().map(String::from_utf8_lossy).collect::<Vec<_>>();
                words.join(" ")
            })
        };
        assert_eq!(
            part("XREAD COUNT 2 STREAMS a b c 1 2 3", &[1]).as_deref(),
            Ok("XREAD COUNT 2 STREAMS b 2")
        );
        assert_eq!(part("MGET a b c", &[0, 2]).as_deref(), Ok("MGET a c"));
        assert_eq!(part("MSET a 1 b 2 c 3", &[0, 2]).as_deref(), Ok("MSET a 1 c 3"));
        assert!(part("MSET a 1 b", &[0]).is_err() && part("XREAD STREAMS a b 1", &[0]).is_err());
    }

    #[test]
    fn one_of_several_replies_is_chosen_by_weight() {
        let replies = ["$1\r\na\r\n", "$-1\r\n", "$1\r\nb\r\n", "$1\r\nc\r\n"];
        let chosen = |random| put_weighted(Gather::AnyOne, &replies, &[1, 100, 3, 2], random);
        let letters: String = (0..12).map(|random| chosen(random).as_bytes()[4] as char).collect();
        assert_eq!(letters, "abbbccabbbcc");
    }

    #[test]
    fn elements_return_to_the_places_of_their_keys() {
        let part = |keys: &[usize], reply: &str| Part {
            keys: keys.into(),
            reply: reply.into(),
            shards: 0,
            is_sent: true,
        };
        let parts = [part(&[0, 2], "*2\r\n$1\r\na\r\n$1\r\nc\r\n"), part(&[1], "*1\r\n_\r\n")];
        let mut out = Reply::default();
        put_by_key(&parts, &mut out);
        assert_eq!(out.into_bytes(), b"*3\r\n$1\r\na\r\n_\r\n$1\r\nc\r\n");
    }
}
