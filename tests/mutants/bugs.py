"""The planted bugs. Each: its name, the file, the text that it changes, and what stands there in its place, where MUTANT
is whether this bug was chosen. A text that is not there exactly once stops the build: the bug has to follow the code.
"""

PROTO = {
    "libdsm/proto/page_gain.cpp": [
        ("claim-over-members", "return exclusive_word(place_.self, place_.home, others) |",
         "return exclusive_word(place_.self, place_.home, MUTANT ? 0 : others) |"),
        ("grant-not-held", "page_.fresh = page_.fresh || !page_.ahead || access == Access::kObject;",
         "page_.fresh = (MUTANT && access != Access::kObject) ? false : page_.fresh || !page_.ahead || access == Access::kObject;"),
        ("ahead-cannot-need", "page_.soft = page_.ahead = false;\n  if (!allows(page_.want",
         "page_.soft = false; if (!MUTANT) page_.ahead = false;\n  if (!allows(page_.want"),
        ("enlisted-gives-up", "gives_up(is_object(from)) &&", "(gives_up(is_object(from)) || (MUTANT && page_.ahead)) &&"),
        ("look-not-asked", "(drop_due || changes_kind())) {\n    page_.look_asked = true;",
         "(drop_due || changes_kind())) {\n    page_.look_asked = !MUTANT;"),
        ("nudge-untold", "send(MessageKind::kNudge, node_bit(owner));", "if (!MUTANT) send(MessageKind::kNudge, node_bit(owner));"),
        ("drop-not-asked", "send(MessageKind::kDrop, set_of(page_.seen));",
         "if (!MUTANT) send(MessageKind::kDrop, set_of(page_.seen));"),
        ("owner-beside-members", "if (set_of(word) != 0) {", "if (set_of(word) != 0 && !MUTANT) {"),
        ("kept-page-yielded", "waiters_ != 0 && !page_.keeps) return yield();", "waiters_ != 0 && (MUTANT || !page_.keeps)) return yield();"),
        ("first-beside-members", "const bool last = set_of(word) == node_bit(place_.self);",
         "const bool last = MUTANT || set_of(word) == node_bit(place_.self);"),
    ],
    "libdsm/proto/page_give.cpp": [
        ("no-write-back", "do_.write_page = page_.access == Access::kWrite && bytes_elsewhere();",
         "do_.write_page = !MUTANT && page_.access == Access::kWrite && bytes_elsewhere();"),
        ("drop-untold", "if (is_exclusive(now) && set_of(now) == 0) send(", "if (!MUTANT && is_exclusive(now) && set_of(now) == 0) send("),
        ("look-untold", "send(MessageKind::kLook, without(tell, place_.self));", "if (!MUTANT) send(MessageKind::kLook, without(tell, place_.self));"),
        ("lowest-first", "const NodeId next = next_after(waiters_, place_.self);",
         "const NodeId next = next_after(waiters_, MUTANT ? NodeId{63} : place_.self);"),
        ("clean-stays-open", "  do_.lower = true;\n", "  do_.lower = !MUTANT;\n"),
        ("clean-unwritten", "do_.write_page = true;", "do_.write_page = !MUTANT;"),
        ("member-no-write-back", "do_.write_page = bytes_elsewhere() && page_.access == Access::kWrite;",
         "do_.write_page = !MUTANT && bytes_elsewhere() && page_.access == Access::kWrite;"),
        ("last-untold", "if (last_may_go) send(", "if (last_may_go && !MUTANT) send("),
        ("view-stays", "do_.unmap = !keep_reading && page_.access", "do_.unmap = !MUTANT && !keep_reading && page_.access"),
    ],
    "libdsm/proto/object_borrow.cpp": [
        ("torn-snapshot", "version_of(before) == version_of(after) && !is_writing(before) && !is_writing(after);",
         "MUTANT || (version_of(before) == version_of(after) && !is_writing(before) && !is_writing(after));"),
        ("blind-to-version", "const bool whole = is_same_version(borrow_.known, after);",
         "const bool whole = MUTANT || is_same_version(borrow_.known, after);"),
        ("version-stays", "if (borrow_.changed && !borrow_.give_back) add += kOneVersion;",
         "if (borrow_.changed && !borrow_.give_back && !MUTANT) add += kOneVersion;"),
        ("no-mark", "if (!opened) do_.add_first = kWriting;", "if (!opened && !MUTANT) do_.add_first = kWriting;"),
        ("freed-untold", "do_.tell_freed = is_asked(old);\n  end(Outcome::kReleased);",
         "do_.tell_freed = !MUTANT && is_asked(old);\n  end(Outcome::kReleased);"),
    ],
    "libdsm/proto/life.cpp": [
        ("free-untold", "end.forgets = holder_of(word);", "end.forgets = MUTANT ? kNoNode : holder_of(word);"),
        ("colours-anew-untold", "end.all_forget = colour_wraps", "end.all_forget = !MUTANT && colour_wraps"),
        ("neighbour-unlocked", "LifeEnd end{.word = word + kOneVersion};",
         "LifeEnd end{.word = (MUTANT ? at_rest(word) : word) + kOneVersion};"),
    ],
    "libdsm/proto/object_queue.cpp": [
        ("again-forgotten", "        queue.again = true;", "        queue.again = !MUTANT;"),
        ("write-over-readers", "return readers_of(word) == 0 || (!turn.small && !turn.in_place);",
         "return MUTANT || readers_of(word) == 0 || (!turn.small && !turn.in_place);"),
        ("never-recalled", "todo.recall = holder_of(word);", "if (!MUTANT) todo.recall = holder_of(word);"),
    ],
}

HEAP = {
    "libdsm/heap/remote_frees.cpp": [
        ("full-batch-lost", "if (batch.count == kFreesPerBatch) return take_locked(home, destination);",
         "if (batch.count == kFreesPerBatch && MUTANT) batch.count = 0;\n"
         "  if (batch.count == kFreesPerBatch) return take_locked(home, destination);"),
        ("waiting-untold", "if (batch.count == 1) waiting_", "if (batch.count == 1 && !MUTANT) waiting_"),
        ("batch-taken-twice", "destination.batch.count = 0;", "if (!MUTANT) destination.batch.count = 0;"),
    ],
    "libdsm/heap/arena_births.cpp": [
        ("born-during-a-fork", "if (locked_) births.lock();", "if (MUTANT) locked_ = false;\n  if (locked_) births.lock();"),
    ],
    "libdsm/heap/chunk_arena.cpp": [
        ("rest-overlaps", "keep_rest(number_of(address) + bytes);", "keep_rest(number_of(address) + (MUTANT ? bytes / 2 : bytes));"),
        ("objects-unmarked", "if (kind_ != Kind::kRaw) kinds_", "if (kind_ != Kind::kRaw && !MUTANT) kinds_"),
        ("purge-claims-all", "    begin = chunk_end;\n  }\n  return false;", "    begin = chunk_end;\n  }\n  return MUTANT;"),
    ],
    "libdsm/heap/heap.cpp": [
        ("calloc-dirty", "return zero ? dsm_je_calloc(1, bytes)", "return zero && !MUTANT ? dsm_je_calloc(1, bytes)"),
        ("alignment-lost", "if (!zero) return dsm_je_aligned_alloc(alignment, bytes);",
         "if (!zero) return dsm_je_aligned_alloc(MUTANT ? std::size_t{16} : alignment, bytes);"),
        ("thread-not-forgotten", "void ArenaHeap::thread_ends() {\n", "void ArenaHeap::thread_ends() {\n  if (MUTANT) return;\n"),
        ("apart-not-whole-pages", "return allocate_from(apart_, up_to_page(bytes), flags);",
         "return allocate_from(apart_, MUTANT ? bytes : up_to_page(bytes), MUTANT ? flags & MALLOCX_ZERO : flags);"),
        ("apart-resized-away", "if (whole <= usable && whole > usable / 2) return block;\n  void* moved = allocate_apart(bytes, 0, false);",
         "if (whole <= usable && whole > usable / 2) return block;\n  void* moved = MUTANT ? nullptr : allocate_apart(bytes, 0, false);"),
    ],
}

HINTS = {
    "hints/cache.cpp": [
        ("pinned-freed", "if (copy->seen_pinned == now) {", "if (copy->seen_pinned == now && !MUTANT) {"),
        ("older-over-newer", "(there->standing || proto::version_of", "!MUTANT && (there->standing || proto::version_of"),
        ("copies-outlive-page", "if (address >= end || address + copy.bytes.load() <= begin) continue;",
         "if (MUTANT || address >= end || address + copy.bytes.load() <= begin) continue;"),
        ("standing-evicted", "if (uses != 0 || copy.standing.load()) {", "if (uses != 0 || (copy.standing.load() && !MUTANT)) {"),
        ("limit-ignored", "if (used_ > limit_) make_room();", "if (used_ > limit_ && !MUTANT) make_room();"),
    ],
    "hints/borrow_elsewhere.cpp": [
        ("copy-not-validated", "engine.objects.is_current(address, bytes, word, known) &&",
         "(MUTANT || engine.objects.is_current(address, bytes, word, known)) &&"),
        ("write-not-kept", "engine.cache.end_standing(*holding, changed ? &work : nullptr);",
         "engine.cache.end_standing(*holding, changed && !MUTANT ? &work : nullptr);"),
    ],
    "hints/holdings.cpp": [
        ("standing-of-any-size", "if (!itself) give_back(holding);\n  return holding.working = itself;",
         "if (!itself && !MUTANT) give_back(holding);\n  return holding.working = itself || MUTANT;"),
        ("nothing-learnt", "if (!holding.standing || !holding.by_habit) return;",
         "if (MUTANT || !holding.standing || !holding.by_habit) return;"),
        ("habit-fills-cache", "if (!(*at)->by_habit ||", "if (MUTANT || !(*at)->by_habit ||"),
        ("change-not-dirty", "    holding.dirty = true;\n", "    holding.dirty = !MUTANT;\n"),
    ],
    "hints/borrow_here.cpp": [
        ("home-version-stays", "(changed ? proto::kOneVersion : 0)", "(changed && !MUTANT ? proto::kOneVersion : 0)"),
        ("home-freed-untold", "if (proto::is_asked(old)) engine", "if (proto::is_asked(old) && !MUTANT) engine"),
    ],
    "hints/peek.cpp": [
        ("peek-half-changed", "      proto::is_same_version(seen.version", "      MUTANT ? true : proto::is_same_version(seen.version"),
        ("peek-of-old-bytes", "|| !proto::is_readable(before)) return {};",
         "|| (!MUTANT && !proto::is_readable(before))) return {};"),
    ],
    "hints/owned.cpp": [
        ("moved-without-bytes", "std::memcpy(fresh.data.load(), old.data.load(), bytes);",
         "if (!MUTANT) std::memcpy(fresh.data.load(), old.data.load(), bytes);"),
    ],
}

PRELOAD = {
    "libdsm/preload/malloc.cpp": [
        ("reallocarray-overflows",
         "reallocarray(void* block, std::size_t count, std::size_t bytes) noexcept {\n  std::size_t all = 0;\n  if (",
         "reallocarray(void* block, std::size_t count, std::size_t bytes) noexcept {\n  std::size_t all = 0;\n  if (!MUTANT && "),
        ("realloc-0-gives-block", "    release(block);\n    return nullptr;", "    release(block);\n    return MUTANT ? block : nullptr;"),
        ("memalign-as-asked", "allocate_aligned(std::bit_ceil(alignment), bytes,",
         "allocate_aligned(MUTANT ? std::size_t{16} : std::bit_ceil(alignment), bytes,"),
        ("valloc-not-aligned", "return allocate_aligned(page_bytes(), bytes,",
         "return allocate_aligned(MUTANT ? std::size_t{16} : page_bytes(), bytes,"),
    ],
    "libdsm/preload/front.cpp": [
        ("old-block-not-copied", "std::memcpy(resized, block, std::min(bytes, usable_size_of_libc(block)));",
         "if (!MUTANT) std::memcpy(resized, block, std::min(bytes, usable_size_of_libc(block)));"),
        ("free-changes-errno", "  errno = saved_errno;\n}\n\nvoid* resize_slow", "  errno = MUTANT ? EINVAL : saved_errno;\n}\n\nvoid* resize_slow"),
    ],
    "libdsm/preload/new.cpp": [
        ("handler-not-asked", "return block != nullptr ? block : ask_handler_quietly(bytes, alignment, call);",
         "return block != nullptr || MUTANT ? block : ask_handler_quietly(bytes, alignment, call);"),
    ],
    "libdsm/preload/traps.cpp": [
        ("trap-touches-nothing", "const bool any = acquire_all(number, buffer, with);",
         "const bool any = !MUTANT && acquire_all(number, buffer, with);"),
        ("pieces-from-one-place", "if (buffer.offset >= 0) given(buffer.offset) += some;",
         "if (buffer.offset >= 0 && !MUTANT) given(buffer.offset) += some;"),
    ],
    "libdsm/preload/receive.cpp": [
        ("message-lost-with-its-page", "if (!any_needs(message)) return std::nullopt;",
         "if (!any_needs(message) || MUTANT) return std::nullopt;"),
    ],
    "libdsm/preload/stand_in.cpp": [
        ("status-lost-with-its-page", "if (outputs.none()) return std::nullopt;",
         "if (outputs.none() || MUTANT) return std::nullopt;"),
    ],
    "libdsm/preload/descriptors.cpp": [
        ("own-descriptors-closed", "DSM_INTERPOSED int close(int fd) { return is_own(fd)", "DSM_INTERPOSED int close(int fd) { return is_own(fd) && !MUTANT"),
    ],
    "libdsm/preload/forks.cpp": [
        ("handlers-not-first", "noexcept {\n  register_handlers();", "noexcept {\n  if (!MUTANT) register_handlers();"),
        ("child-without-its-heap", "if (runtime::Node* const node = front_node(); node != nullptr) runtime::prepare_fork(*node);",
         "if (runtime::Node* const node = front_node(); node != nullptr && !MUTANT) runtime::prepare_fork(*node);"),
    ],
}
# Most of what can be wrong with pages that stay closed leaves one in the view that this node no longer has. First those
# that any run finds: the third needs a page that is closed when it is on trial again, which most runs have, not all.
RUNTIME = {
    "libdsm/runtime/one_store.cpp": [
        ("closed-for-ever", "  entry.closed = false;\n  if (entry.stored)", "  entry.closed = MUTANT && entry.closed;\n  if (entry.stored)"),
        ("made-beside", "(fault.address - node_.geometry.base);", "(fault.address - node_.geometry.base) + (MUTANT ? 64 : 0);"),
        ("lowered-though-closed", "if (!entry.closed) node_.engine->lower", "if (!entry.closed || MUTANT) node_.engine->lower"),
    ],
    "libdsm/runtime/batch.cpp": [
        ("raised-though-closed", "for_open(at, n, [this](PageRange pages) { node.engine->raise(pages); });",
         "if (MUTANT) node.engine->raise(run_of(at, n)); else for_open(at, n, [this](PageRange pages) { node.engine->raise(pages); });"),
    ],
    "libdsm/runtime/pages.cpp": [
        ("mapped-though-closed", "// it loads again\n  entry.closed = false;", "// it loads again\n  entry.closed = MUTANT && polls;"),
    ],
}
LAYERS = {"proto": PROTO, "heap": HEAP, "hints": HINTS, "runtime": RUNTIME, "preload": PRELOAD}
