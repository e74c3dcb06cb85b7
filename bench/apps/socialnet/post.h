// What SocialNet works with: requests, the media items, and what a service makes of a text.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "bench/apps/frame/random.h"

namespace app::social {

inline constexpr std::size_t kFrames = 5;                      // of a media item
inline constexpr std::size_t kFrameBytes = 480UL * 270UL * 3;  // RGB
inline constexpr std::size_t kFrameWords = kFrameBytes / sizeof(std::uint64_t);
inline constexpr std::size_t kItemBytes = kFrames * kFrameBytes;
inline constexpr std::size_t kItemWords = kFrames * kFrameWords;
inline constexpr std::size_t kMostText = 192;
inline constexpr std::size_t kMostMentions = 8;

using Word = std::uint64_t;

// Word `at` of a frame of a media item, as it is in the beginning.
constexpr Word pixels(std::uint64_t item, std::size_t frame, std::size_t at) {
  return mix((item * kFrames + frame) << 32 | at);
}
inline void draw(std::uint64_t item, Word* words) {
  for (std::size_t at = 0; at < kItemWords; ++at) words[at] = pixels(item, at / kFrameWords, at % kFrameWords);
}

struct Request {
  std::uint32_t item;
  std::string text;
};

// About 175 characters, with some names of people in them.
inline Request request_of(std::uint64_t seed, unsigned worker, std::uint64_t number, std::uint64_t items) {
  const std::uint64_t random = random_at(seed, worker, number);
  Request made{static_cast<std::uint32_t>(random % items), {}};
  for (std::uint64_t word = 0; made.text.size() < 170; ++word) {
    const std::uint64_t bits = mix(random + word);
    if (bits % 7 == 0) made.text += '@';
    for (std::uint64_t i = 0; i < 3 + bits / 8 % 6; ++i)
      made.text += static_cast<char>('a' + (bits >> (12 + 4 * i)) % 26);
    made.text += ' ';
  }
  made.text.resize(175, '.');
  return made;
}

// The people that a text mentions.
struct Mentions {
  std::uint64_t count = 0;
  std::array<std::uint64_t, kMostMentions> people{};  // as hashes of their names
};

inline Mentions scan(std::span<const char> text) {
  Mentions found;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '@') continue;
    std::uint64_t person = 0;
    while (++i < text.size() && text[i] >= 'a' && text[i] <= 'z') {
      person = mix(person + static_cast<unsigned char>(text[i]));
    }
    if (found.count < kMostMentions) found.people[found.count++] = person;
  }
  return found;
}

// Marks a copy of a media item in the first word of each frame; a sample of the rest.
inline std::uint64_t mark(Word* words, std::uint64_t id) {
  std::uint64_t all = 0;
  for (std::size_t frame = 0; frame < kFrames; ++frame, words += kFrameWords) {
    words[0] = id;
    std::uint64_t sum = 0;
    for (std::size_t at = 1; at < kFrameWords; at += kFrameWords / 64) sum = mix(sum ^ words[at]);
    all = mix(all + sum);
  }
  return all;
}

// What a stored post adds to the digest of all: the same whatever its id.
inline std::uint64_t digest_of(const Mentions& mentions, std::span<const char> text, std::uint64_t media) {
  std::uint64_t sum = mix(media + mentions.count);
  for (const std::uint64_t person : mentions.people) sum = mix(sum ^ person);
  for (const char letter : text) sum = mix(sum + static_cast<unsigned char>(letter));
  return sum;
}

}  // namespace app::social
