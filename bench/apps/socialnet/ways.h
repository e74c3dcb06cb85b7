// How SocialNet's services hand texts and media to each other, once for each way of sharing memory. Item i is in the
// memory of node i mod n.
//
//   Text write(text)              a text on its way from service to service; whoever has it last calls drop()
//   read(text, f)                 f(its characters)
//   Media copy(item, id)          the item, all frames of it, copied and marked with `id`: made by the media service,
//                                 where it runs; whoever stores the post has it last
//   read(media, f)                f(its words)
//   pack(media), unpack(media)    before it goes to another node, and there
#pragma once

#include <dsm/hints.h>
#include <dsm/spawn.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "bench/apps/frame/job.h"
#include "bench/apps/socialnet/post.h"

namespace app::social {

// Native and page mode: pointers.
class PlainWays {
 public:
  struct Text {
    char* at;
    std::size_t size;
  };
  struct Media {
    Word* words;
    std::uint64_t sum;
  };

  PlainWays(Job& job, std::uint64_t items) : PlainWays(job, items, draw) {}
  Text write(const std::string& text) {
    auto* const at = static_cast<char*>(block(text.size(), 64));
    std::copy_n(text.data(), text.size(), at);
    return {at, text.size()};
  }
  template <typename F>
  auto read(const Text& text, F f) {
    return f(std::span<const char>(text.at, text.size));
  }
  Media copy(std::uint64_t item, std::uint64_t id) {
    const Word* const from = items_[item].words;
    if (!native_) dsm::prefetch(from, kItemBytes);
    auto* const words = static_cast<Word*>(block(kItemBytes, kPageBytes));
    std::memcpy(words, from, kItemBytes);
    return {words, mark(words, id)};
  }
  template <typename F>
  void read(const Media& media, F f) {
    f(media.words);
  }
  void pack(Media&) {}
  void unpack(Media&) {}
  void drop(Text& text) { give_back(text.at); }
  void drop(Media& media) { give_back(media.words); }

 protected:
  template <typename Draw>
  PlainWays(Job& job, std::uint64_t items, Draw draw_into) : native_(job.native()), items_(job.shared<Media>(items)) {
    for (std::uint64_t item = 0; item < items; ++item) {
      if (!job.is_own(static_cast<unsigned>(item % job.nodes()))) continue;
      draw_into(item, items_[item].words = job.pages<Word>(kItemWords));
    }
    job.sync_nodes();
  }
  void* block(std::size_t bytes, std::size_t alignment) const {
    const std::size_t whole = (bytes + alignment - 1) / alignment * alignment;
    return native_ ? std::aligned_alloc(alignment, whole) : dsm::alloc(whole, alignment);
  }
  void give_back(void* at) const { native_ ? std::free(at) : dsm::free(at); }

  bool native_;
  Media* items_;
};

// L1: a text and a media item are objects.
class HintedWays : public PlainWays {
 public:
  HintedWays(Job& job, std::uint64_t items)
      : PlainWays(job, items, [](std::uint64_t item, Word* words) {
          draw(item, dsm::borrow_mut(std::span(words, kItemWords)).get());
        }) {}

  Text write(const std::string& text) {
    auto* const at = static_cast<char*>(block(text.size(), 64));
    std::copy_n(text.data(), text.size(), dsm::borrow_mut(std::span(at, text.size())).get());
    return {at, text.size()};
  }
  template <typename F>
  auto read(const Text& text, F f) {
    return f(dsm::borrow_shared(std::span<const char>(text.at, text.size)).span());
  }
  Media copy(std::uint64_t item, std::uint64_t id) {
    const auto from = dsm::borrow_shared(std::span<const Word>(items_[item].words, kItemWords));
    auto* const words = static_cast<Word*>(block(kItemBytes, kPageBytes));
    const auto to = dsm::borrow_mut(std::span(words, kItemWords));
    std::memcpy(to.get(), from.get(), kItemBytes);
    return {words, mark(to.get(), id)};
  }
  template <typename F>
  void read(const Media& media, F f) {
    f(dsm::borrow_shared(std::span<const Word>(media.words, kItemWords)).get());
  }
};

// L2: texts and media items have owners, which travel.
class OwnedWays {
 public:
  using Text = dsm::own_ptr<char[]>;
  struct Media {
    dsm::own_ptr<Word[]> words;
    std::uint64_t sum = 0;
  };

  OwnedWays(Job& job, std::uint64_t items) : items_(job.shared<Media>(items)) {
    for (std::uint64_t item = 0; item < items; ++item) {
      if (!job.is_own(static_cast<unsigned>(item % job.nodes()))) continue;
      items_[item].words = dsm::make_owned<Word[]>(kItemWords);
      if (!items_[item].words) job.die("global memory is used up. Take fewer items or a larger heap.");
      draw(item, dsm::borrow_mut(items_[item].words).get());
    }
    job.sync_nodes();
  }
  Text write(const std::string& text) {
    Text made = dsm::make_owned_for_overwrite<char[]>(text.size());
    std::memcpy(dsm::borrow_mut(made).get(), text.data(), text.size());
    return made;
  }
  template <typename F>
  auto read(const Text& text, F f) {
    return f(dsm::borrow_shared(text).span());
  }
  Media copy(std::uint64_t item, std::uint64_t id) {
    const auto from = dsm::borrow_shared(items_[item].words);
    Media made{dsm::make_owned_for_overwrite<Word[]>(kItemWords)};
    auto to = dsm::borrow_mut(made.words);
    std::memcpy(to.get(), from.get(), kItemBytes);
    made.sum = mark(to.get(), id);
    to.release();  // before the owner moves
    return made;
  }
  template <typename F>
  void read(const Media& media, F f) {
    f(dsm::borrow_shared(media.words).get());
  }
  void pack(Media&) {}
  void unpack(Media&) {}
  void drop(Text& text) { text.reset(); }
  void drop(Media& media) { media.words.reset(); }

 private:
  Media* items_;
};

// No shared memory: services have memory of their own and pass values. A text is part of the message; a media item is
// serialised into one block, which the receiver fetches with one read and takes apart.
class MessageWays {
 public:
  struct Text {
    std::array<char, kMostText> letters;
    std::size_t size;
  };
  struct Media {
    Word* words = nullptr;
    dsm::own_ptr<Word[]> packet;  // on its way
    std::uint64_t sum = 0;
  };

  MessageWays(Job& job, std::uint64_t items) : items_(items) {
    for (std::uint64_t item = 0; item < items; ++item) {
      if (!job.is_own(static_cast<unsigned>(item % job.nodes()))) continue;
      draw(item, items_[item].words = block());
    }
    here = this;
    job.sync_nodes();
  }
  Text write(const std::string& text) {
    Text made{{}, text.size()};
    std::memcpy(made.letters.data(), text.data(), text.size());
    return made;
  }
  template <typename F>
  auto read(const Text& text, F f) {
    return f(std::span<const char>(text.letters.data(), text.size));
  }
  Media copy(std::uint64_t item, std::uint64_t id) {
    const auto home = static_cast<unsigned>(item % dsm::nodes());
    Media made;
    if (home == dsm::node()) {
      made = copy_of(items_[item]);
    } else {
      made.packet = dsm::spawn_on(
                        home, [](std::uint64_t wanted) { return serialised(here->items_[wanted]); }, item)
                        .get();
      unpack(made);
    }
    made.sum = mark(made.words, id);
    return made;
  }
  template <typename F>
  void read(const Media& media, F f) {
    f(media.words);
  }
  void pack(Media& media) {
    media.packet = serialised(media);
    drop(media);
  }
  void unpack(Media& media) {
    auto packet = dsm::borrow_shared(media.packet);
    std::memcpy(media.words = block(), packet.get(), kItemBytes);
    packet.release();
    media.packet.reset();
  }
  void drop(Text&) {}
  void drop(Media& media) { std::free(std::exchange(media.words, nullptr)); }

 private:
  static Word* block() { return static_cast<Word*>(std::malloc(kItemBytes)); }
  static dsm::own_ptr<Word[]> serialised(const Media& media) {
    auto made = dsm::make_owned_for_overwrite<Word[]>(kItemWords);
    std::memcpy(dsm::borrow_mut(made).get(), media.words, kItemBytes);
    return made;
  }
  static Media copy_of(const Media& media) {
    Media made;
    std::memcpy(made.words = block(), media.words, kItemBytes);
    return made;
  }

  static inline MessageWays* here = nullptr;  // of this process
  std::vector<Media> items_;                  // those of this node
};

}  // namespace app::social

template <>
inline constexpr bool dsm::travels<app::social::OwnedWays::Media> = true;
template <>
inline constexpr bool dsm::travels<app::social::MessageWays::Media> = true;
