//! Nodes that were dropped and wait for the next op.
//!
//! A training step makes as many nodes as the one before and drops them all at once, which is what general allocators
//! are worst at. So a node that nobody holds any more is emptied and kept, by the thread that dropped it.

use std::cell::RefCell;
use std::sync::Arc;

use crate::node::Node;

/// Nodes that a thread keeps: half a megabyte.
const MOST: usize = 2048;

thread_local! {
    static FREE: RefCell<Vec<Arc<Node>>> = const { RefCell::new(Vec::new()) };
    /// While a node is emptied whose code is the user's: what that code held.
    static HELD: RefCell<Option<Vec<Arc<Node>>>> = const { RefCell::new(None) };
}

/// An empty node that nobody else holds.
#[inline]
pub(crate) fn take() -> Arc<Node> {
    FREE.try_with(|free| free.borrow_mut().pop()).ok().flatten().unwrap_or_else(|| Arc::new(Node::empty()))
}

/// Gives a handle of a node back. If it was the last one, the node is emptied, and so on with what it held, without
/// recursion: a chain of a million ops must not overflow the stack. (Of two threads that give the last two handles back
/// at once, neither may see itself as the last. Then the node's own `drop` comes here with what it held.)
pub(crate) fn give(node: Arc<Node>) {
    let mut next = Some(node);
    let _ = HELD.try_with(|held| {
        if let Some(held) = &mut *held.borrow_mut() {
            held.extend(next.take());
        }
    });
    // Takes memory only where the graph branches.
    let mut others = Vec::new();
    while let Some(mut node) = next.take().or_else(|| others.pop()) {
        // Most handles are not the last, which is seen without the exclusive access that `get_mut` takes.
        if Arc::strong_count(&node) > 1 {
            continue;
        }
        let Some(last) = Arc::get_mut(&mut node) else { continue };
        for edge in last.edges.iter_mut().filter_map(Option::take) {
            if let Some(other) = next.replace(edge.node) {
                others.push(other);
            }
        }
        if last.holds_code() {
            others.extend(empty(last));
        } else {
            last.clear();
        }
        // A thread that ends keeps nothing.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < MOST {
                free.push(node);
            }
        });
    }
}

/// Empties a node whose code may hold tensors, whose drop gives nodes back: these nodes.
fn empty(node: &mut Node) -> Vec<Arc<Node>> {
    /// Ends the wait, also when a panic passes.
    struct Waiting;
    impl Drop for Waiting {
        fn drop(&mut self) {
            let _ = HELD.try_with(RefCell::take);
        }
    }
    let _ = HELD.try_with(|held| held.replace(Some(Vec::new())));
    let _waiting = Waiting;
    node.clear();
    HELD.try_with(RefCell::take).ok().flatten().unwrap_or_default()
}
