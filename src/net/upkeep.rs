//! What each loop does for memory beside serving clients: it removes keys whose time is over, gives up keys while
//! memory is over its limit, and one of the loops measures.
//!
//! The shards are split among the loops, so that each key is looked at by one. Between two steps the loop serves
//! whoever has come in meanwhile.

use std::{rc::Rc, time::Duration};

use ringfort_cluster::ShardId;

use super::EventLoop;
use crate::{replication::roles, tasks};

/// How often shards are asked whether keys have expired.
const EXPIRE: Duration = Duration::from_millis(100);

/// How often the allocator is asked how much is in use, and memory is held against its limit.
const MEASURE: Duration = Duration::from_millis(50);

impl EventLoop {
    /// Starts the tasks of loop `index` out of so many.
    pub(super) fn start_upkeep(self: &Rc<Self>, index: usize, loops: usize) {
        tasks::local("expire", Rc::clone(self).expire_forever(index, loops));
        tasks::local("evict", Rc::clone(self).evict_forever());
        if index == 0 {
            tasks::local("measure", Rc::clone(self).measure_forever());
        }
    }

    async fn expire_forever(self: Rc<Self>, index: usize, loops: usize) {
        loop {
            tokio::time::sleep(EXPIRE).await;
            for shard in (0..self.node.store.shards()).skip(index).step_by(loops).map(ShardId) {
                while self.node.store.is_due(shard, self.node.clock.wall_ms()) {
                    let more = self.with_router(|router| {
                        router.turn();
                        router.expire_some(shard)
                    });
                    tokio::task::yield_now().await;
                    if !more {
                        break;
                    }
                }
            }
        }
    }

    /// Goes on where commands had to leave off, and notices a limit that was lowered.
    async fn evict_forever(self: Rc<Self>) {
        loop {
            // Woken or not, memory is looked at.
            let _ = tokio::time::timeout(MEASURE, self.over_limit.notified()).await;
            loop {
                let more = self.with_router(|router| {
                    router.turn();
                    router.evict_some()
                });
                tokio::task::yield_now().await;
                if !more {
                    break;
                }
            }
        }
    }

    async fn measure_forever(self: Rc<Self>) {
        let mut known = self.node.config.load();
        loop {
            tokio::time::sleep(MEASURE).await;
            let settings = self.node.config.load();
            self.node.memory.refresh(&self.node.store);
            self.node.memory.watch(&self.node.store, &settings);
            if !std::sync::Arc::ptr_eq(&settings, &known) {
                roles::limit_logs(&self.node);
                known = settings;
            }
        }
    }
}
