// How SocialNet's services hand texts and media to each other, once for each way of sharing memory. Item i is in the
// memory of node i mod n.
//
//   Text write(text)              a text on its way from service to service; whoever has it last calls drop()
//   read(text, f)                 f(its characters)
//   Media copy(item, id)          the item's frames, copied and marked with `id`: made by the media service, where it
//                                 runs; whoever stores the post has it last
//   read(media, f)                f(frame number, its words)
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
    std::array<Word*, kFrames> frames;
    std::uint64_t sum;
  };

  PlainWays(Job& job, std::uint64_t items) : native_(job.native()), items_(job.shared<Media>(items)) {
    for (std::uint64_t item = 0; item < items; ++item) {
      if (!job.is_own(static_cast<unsigned>(item % job.nodes()))) continue;
      for (std::size_t frame = 0; frame < kFrames; ++frame) {
        Word* const words = items_[item].frames[frame] = job.pages<Word>(kFrameWords);
        for (std::size_t at = 0; at < kFrameWords; ++at) words[at] = pixels(item, frame, at);
      }
    }
    job.sync_nodes();
  }
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
    Media made{};
    for (std::size_t frame = 0; frame < kFrames; ++frame) {
      const Word* const from = items_[item].frames[frame];
      if (!native_) dsm::prefetch(from, kFrameBytes);
      made.frames[frame] = static_cast<Word*>(block(whole_pages(kFrameBytes), kPageBytes));
      std::memcpy(made.frames[frame], from, kFrameBytes);
      made.frames[frame][0] = id;
      made.sum = mix(made.sum + sample(made.frames[frame]));
    }
    return made;
  }
  template <typename F>
  void read(const Media& media, F f) {
    for (std::size_t frame = 0; frame < kFrames; ++frame) f(frame, media.frames[frame]);
  }
  void pack(Media&) {}
  void unpack(Media&) {}
  void drop(Text& text) { give_back(text.at); }
  void drop(Media& media) {
    for (Word* const frame : media.frames) give_back(frame);
  }

 protected:
  void* block(std::size_t bytes, std::size_t alignment) const {
    const std::size_t whole = (bytes + alignment - 1) / alignment * alignment;
    return native_ ? std::aligned_alloc(alignment, whole) : dsm::alloc(whole, alignment);
  }
  void give_back(void* at) const { native_ ? std::free(at) : dsm::free(at); }

  bool native_;
  Media* items_;
};

// L1: a text and a frame are objects.
class HintedWays : public PlainWays {
 public:
  using PlainWays::PlainWays;

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
    Media made{};
    for (std::size_t frame = 0; frame < kFrames; ++frame) {
      const auto from = dsm::borrow_shared(std::span<const Word>(items_[item].frames[frame], kFrameWords));
      made.frames[frame] = static_cast<Word*>(block(whole_pages(kFrameBytes), kPageBytes));
      const auto to = dsm::borrow_mut(std::span(made.frames[frame], kFrameWords));
      std::memcpy(to.get(), from.get(), kFrameBytes);
      to[0] = id;
      made.sum = mix(made.sum + sample(to.get()));
    }
    return made;
  }
  template <typename F>
  void read(const Media& media, F f) {
    for (std::size_t frame = 0; frame < kFrames; ++frame) {
      f(frame, dsm::borrow_shared(std::span<const Word>(media.frames[frame], kFrameWords)).get());
    }
  }
};

// L2: texts and frames have owners, which travel.
class OwnedWays {
 public:
  using Text = dsm::own_ptr<char[]>;
  struct Media {
    std::array<dsm::own_ptr<Word[]>, kFrames> frames;
    std::uint64_t sum = 0;
  };

  OwnedWays(Job& job, std::uint64_t items) : items_(job.shared<Media>(items)) {
    for (std::uint64_t item = 0; item < items; ++item) {
      if (!job.is_own(static_cast<unsigned>(item % job.nodes()))) continue;
      for (std::size_t frame = 0; frame < kFrames; ++frame) {
        items_[item].frames[frame] = dsm::make_owned<Word[]>(kFrameWords);
        if (!items_[item].frames[frame]) job.die("global memory is used up. Take fewer items or a larger heap.");
        const auto words = dsm::borrow_mut(items_[item].frames[frame]);
        for (std::size_t at = 0; at < kFrameWords; ++at) words[at] = pixels(item, frame, at);
      }
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
    Media made;
    for (std::size_t frame = 0; frame < kFrames; ++frame) {
      const auto from = dsm::borrow_shared(items_[item].frames[frame]);
      made.frames[frame] = dsm::make_owned_for_overwrite<Word[]>(kFrameWords);
      const auto to = dsm::borrow_mut(made.frames[frame]);
      std::memcpy(to.get(), from.get(), kFrameBytes);
      to[0] = id;
      made.sum = mix(made.sum + sample(to.get()));
    }
    return made;
  }
  template <typename F>
  void read(const Media& media, F f) {
    for (std::size_t frame = 0; frame < kFrames; ++frame) f(frame, dsm::borrow_shared(media.frames[frame]).get());
  }
  void pack(Media&) {}
  void unpack(Media&) {}
  void drop(Text& text) { text.reset(); }
  void drop(Media& media) {
    for (auto& frame : media.frames) frame.reset();
  }

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
    std::array<Word*, kFrames> frames{};
    dsm::own_ptr<Word[]> packet;  // on its way
    std::uint64_t sum = 0;
  };

  MessageWays(Job& job, std::uint64_t items) : items_(items) {
    for (std::uint64_t item = 0; item < items; ++item) {
      if (!job.is_own(static_cast<unsigned>(item % job.nodes()))) continue;
      for (std::size_t frame = 0; frame < kFrames; ++frame) {
        Word* const words = items_[item].frames[frame] = block();
        for (std::size_t at = 0; at < kFrameWords; ++at) words[at] = pixels(item, frame, at);
      }
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
    made.sum = 0;
    for (Word* const frame : made.frames) {
      frame[0] = id;
      made.sum = mix(made.sum + sample(frame));
    }
    return made;
  }
  template <typename F>
  void read(const Media& media, F f) {
    for (std::size_t frame = 0; frame < kFrames; ++frame) f(frame, media.frames[frame]);
  }
  void pack(Media& media) {
    media.packet = serialised(media);
    drop(media);
  }
  void unpack(Media& media) {
    auto packet = dsm::borrow_shared(media.packet);
    for (std::size_t frame = 0; frame < kFrames; ++frame) {
      media.frames[frame] = block();
      std::memcpy(media.frames[frame], packet.get() + frame * kFrameWords, kFrameBytes);
    }
    packet.release();
    media.packet.reset();
  }
  void drop(Text&) {}
  void drop(Media& media) {
    for (Word*& frame : media.frames) std::free(std::exchange(frame, nullptr));
  }

 private:
  static Word* block() { return static_cast<Word*>(std::malloc(kFrameBytes)); }
  static dsm::own_ptr<Word[]> serialised(const Media& media) {
    auto made = dsm::make_owned_for_overwrite<Word[]>(kFrames * kFrameWords);
    auto to = dsm::borrow_mut(made);
    for (std::size_t frame = 0; frame < kFrames; ++frame) {
      std::memcpy(to.get() + frame * kFrameWords, media.frames[frame], kFrameBytes);
    }
    to.release();
    return made;
  }
  static Media copy_of(const Media& media) {
    Media made;
    for (std::size_t frame = 0; frame < kFrames; ++frame) {
      made.frames[frame] = block();
      std::memcpy(made.frames[frame], media.frames[frame], kFrameBytes);
    }
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
