// Random calls of the C interfaces that are allowed, wrong arguments that have an error among them, beside a model:
// what was written into a block or an object is there until the next write.
#include <dsm/dsm_c.h>
#include <dsm/hints_c.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/fuzz/input.h"

namespace {

constexpr unsigned kBlocks = 16;

void require(bool condition) {
  if (!condition) std::abort();
}

struct Block {
  unsigned char* data = nullptr;
  std::size_t bytes = 0;
  unsigned char fill = 0;
  const unsigned char* borrowed = nullptr;
  bool changing = false;

  void expect(const unsigned char* at) const {
    for (std::size_t i = 0; i < bytes; i += i + 97 < bytes ? 97 : 1) require(at[i] == fill);
  }
  void end_borrow() {
    if (borrowed != nullptr) dsm_release(borrowed);
    borrowed = nullptr;
  }
  void free() {
    end_borrow();
    dsm_free(data);
    *this = {};
  }
};

class Run {
 public:
  explicit Run(fuzz::Input& input) : input_(input) {}
  ~Run() {
    for (Block& block : blocks_) block.free();
  }

  void step() {
    Block& block = blocks_[input_.number<std::uint8_t>() % kBlocks];
    switch (input_.number<std::uint8_t>() % 8) {
      case 0:
        return allocate(block);
      case 1:
        return block.free();
      case 2:
        return resize(block);
      case 3:
        return raw(block);
      case 4:
        return borrow(block);
      case 5:
        return block.end_borrow();
      case 6:
        return names(block);
      case 7:
        return hints(block);
    }
  }

 private:
  std::size_t size() {
    return 1 + input_.number<std::uint16_t>() * (input_.number<std::uint8_t>() % 4 == 0 ? 16U : 1U);
  }

  void allocate(Block& block) {
    block.free();
    const std::size_t bytes = size(), alignment = input_.number<std::uint16_t>();
    const int place = input_.number<std::int8_t>();  // NOLINT(bugprone-signed-char-misuse): a small number
    void* const made = dsm_alloc(bytes, alignment, place);
    const bool sensible = (alignment & (alignment - 1)) == 0 && place <= 0 && place >= DSM_PLACE_INTERLEAVED;
    require(sensible || made == nullptr || place < DSM_PLACE_INTERLEAVED);
    if (made == nullptr) return;
    require(alignment == 0 || reinterpret_cast<std::uintptr_t>(made) % alignment == 0);
    require(dsm_usable_size(made) >= bytes && dsm_home(made) == 0);
    block = {static_cast<unsigned char*>(made), bytes, input_.number<std::uint8_t>()};
    std::memset(made, block.fill, bytes);
  }

  void resize(Block& block) {
    block.end_borrow();
    const std::size_t bytes = size();
    void* const made = dsm_realloc(block.data, bytes);
    if (made == nullptr) return;
    const std::size_t kept = block.data == nullptr ? 0 : std::min(bytes, block.bytes);
    block.data = static_cast<unsigned char*>(made);
    block.bytes = kept;
    block.expect(block.data);
    block.bytes = bytes;
    std::memset(made, block.fill, bytes);
  }

  void raw(Block& block) {
    block.end_borrow();
    if (block.data == nullptr) return;
    block.expect(block.data);
    block.fill = input_.number<std::uint8_t>();
    std::memset(block.data, block.fill, block.bytes);
  }

  // A thread that has borrowed an object to change it waits for itself at another one in the same 64 bytes.
  void end_borrows_beside(const Block& block) {
    for (Block& other : blocks_) {
      if (reinterpret_cast<std::uintptr_t>(other.data) / 64 == reinterpret_cast<std::uintptr_t>(block.data) / 64) {
        other.end_borrow();
      }
    }
  }

  void borrow(Block& block) {
    block.end_borrow();
    if (block.data == nullptr) return;
    end_borrows_beside(block);
    if (input_.number<std::uint8_t>() % 2 == 0) {
      block.borrowed = static_cast<const unsigned char*>(dsm_borrow_shared(block.data, block.bytes));
      return block.expect(block.borrowed);
    }
    auto* const held = static_cast<unsigned char*>(dsm_borrow_mut(block.data, block.bytes));
    block.borrowed = held;
    block.expect(held);
    block.fill = input_.number<std::uint8_t>();
    std::memset(held, block.fill, block.bytes);
  }

  void names(Block& block) {
    std::string name = input_.text('\n');
    name.resize(std::strlen(name.c_str()));
    const int error = dsm_publish(name.c_str(), block.data);
    require((error == 0) == (!name.empty() && name.size() <= 128));
    if (error == 0) require(dsm_lookup(name.c_str(), 0) == block.data);
  }

  void hints(Block& block) {
    block.end_borrow();
    const auto bytes = input_.number<std::uint64_t>();
    const auto address = reinterpret_cast<const void*>(input_.number<std::uint64_t>());
    if (block.data == nullptr) {
      (void)dsm_prefetch(address, bytes >> 40, input_.number<std::uint8_t>() % 2);
      return;
    }
    require(dsm_prefetch(block.data, block.bytes, DSM_WRITE) == 0);
    require(dsm_release_pages(block.data, block.bytes) == 0);
    (void)dsm_transfer_pages(block.data, block.bytes, static_cast<unsigned>(bytes % 3));
    end_borrows_beside(block);
    dsm_transfer(block.data, block.bytes, 0);
    block.expect(block.data);
  }

  fuzz::Input& input_;
  Block blocks_[kBlocks];
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool started = [] {
    ::setenv("DSM_SLICE", "256M", 0);
    ::setenv("DSM_INTERLEAVED", "256M", 0);
    return dsm_start() == 0;
  }();
  require(started);
  fuzz::Input input(data, size);
  Run run(input);
  for (int steps = 0; steps < 200 && !input.empty(); ++steps) run.step();
  return 0;
}
