// Locks of the whole job: a lock is a latch-only page. Its node gains the page by the page protocol, exclusively or
// shared, and keeps it until another node asks; threads of the node lock locally within that, by Entry::hold.
//
//   bits 0-15   readers: threads of this node that hold it shared
//   bit 16      writer: a thread of this node holds it exclusively
//   bit 17, 18  may read, may write: what the node may do
//   bit 19      closed
//   bit 20      owed
//   bit 21      looked: the latch has been looked at in this run although readers hold the lock
//   bit 22      sleepers: threads of this node sleep until it is unlocked
//   bit 23      writer waits: new readers stand back, a thread of this node waits for the readers to leave
//   bit 24      stand back: a thread of this node has waited for long; who comes new sleeps once before it takes it
//   bit 25      kept: another node waits, but for now this one keeps the lock for its own threads (holds.h)
//   bit 26      taken: a thread of this node has taken it since it is kept
//
// Threads lock and unlock (readers, writer) without Entry::lock, and an unlock takes away `sleepers`, a writer `writer
// waits`; everything else changes under Entry::lock.
//
// 1. may read, may write = entry.page.access. Rights are taken away only while nobody holds what they allow.
// 2. closed: another node waits, or a run of the protocol is giving or taking rights: the fast path is off.
// 3. owed: a thread asked for rights, they came, and it has not had the lock yet. Before that the node does not give
//    way, and no thread that has not asked takes the lock.
// 4. Outside a run, entry.page.fresh is set whenever access is not none: the protocol must ask (latch_await_use) before
//    it gives the page up. Readers do not stop readers of other nodes: the node then gives up the right to write only.
// 5. closed and asked to look (entry.page.look_asked) outside a run  =>  the lock is held or owed, and the unlock of
//    the last holder makes the protocol ask again. A lock that is kept is open, and Holds makes the protocol ask again.
#pragma once

#include <cstdint>
#include <optional>

#include "base/types.h"
#include "proto/page.h"
#include "runtime/entry.h"

namespace dsm::runtime {

struct Node;

// --- for threads of the program -------------------------------------------------------------------------------------

enum class Hold : std::uint8_t { kShared, kExclusive };

// False: this thread holds it exclusively already, so it would wait for itself. (Nothing has changed.)
bool latch_lock(Node& node, PageId page, Hold hold);
// Asks other nodes if they need it no more, but waits for no thread that holds it. False may be spurious.
bool latch_try_lock(Node& node, PageId page, Hold hold);
// False: this thread (kExclusive) or this node (kShared) does not hold it. (Nothing has changed.)
bool latch_unlock(Node& node, PageId page, Hold hold);
// Whether a thread of this node holds it.
bool latch_held(Node& node, PageId page);

// --- for Batch: latch-only pages, under the entry's lock -------------------------------------------------------------

// In place of the engine's map, raise, lower and unmap.
void latch_permission(Entry& entry, Access access);
// Another node waits for the page: the event that lets the protocol go on, if anything may be given up now.
std::optional<proto::Event> latch_await_use(Entry& entry);
// In its place: the lock stays open for this node's threads until the protocol asks again.
void latch_keep(Entry& entry);
void latch_keep_no_more(Entry& entry);
bool latch_kept(const Entry& entry);
// Whether a thread of this node has it, or has taken it since latch_keep().
bool latch_taken(const Entry& entry);
// At the end of a run. True: threads of this node that wait for the lock have to be woken.
bool latch_run_ended(Entry& entry);

}  // namespace dsm::runtime
