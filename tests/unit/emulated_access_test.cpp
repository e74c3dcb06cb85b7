// emulate_access() beside the processor: the same instruction on the same registers, flags and memory leaves the same.
#include "mem/emulated_access.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <random>
#include <string_view>
#include <vector>

namespace dsm::mem {
namespace {

constexpr std::uint64_t kFlags = 0x8d5;        // carry, parity, adjust, zero, sign, overflow
constexpr std::uint64_t kFlagsAlways = 0x202;  // a program's, beside these
constexpr std::size_t kWords = 16, kFirst = 4;
using Memory = std::array<std::uint64_t, kWords>;

struct State {
  std::uint64_t rax, rcx, rdx, flags;
  bool operator==(const State&) const = default;
};

struct Code {
  std::uintptr_t begin, end;
};

struct Instruction {
  const char* text;
  std::ptrdiff_t offset;  // of its operand from (%rdi), in bytes; rsi is 2
  Code (*run)(State&, std::uint64_t* rdi);
};

// Runs it, and tells where it stands. The stack pointer leaves the red zone before anything is pushed.
#define RUNS(text, offset)                                                                                \
  Instruction {                                                                                           \
    text, offset, [](State& s, std::uint64_t* rdi) {                                                      \
      Code code{};                                                                                        \
      asm volatile("lea -128(%%rsp), %%rsp\n\tpush %[flags]\n\tpopfq\n771:\t" text                        \
                   "\n772:\tpushfq\n\tpop %[flags]\n\t"                                                   \
                   "lea 128(%%rsp), %%rsp\n\tlea 771b(%%rip), %[begin]\n\tlea 772b(%%rip), %[end]"        \
                   : "+a"(s.rax), "+c"(s.rcx),                                                            \
                     "+d"(s.rdx), [flags] "+r"(s.flags), [begin] "=&r"(code.begin), [end] "=&r"(code.end) \
                   : "D"(rdi), "S"(std::uint64_t{2})                                                      \
                   : "cc", "memory");                                                                     \
      return code;                                                                                        \
    }                                                                                                     \
  }

const std::vector<Instruction>& instructions() {
  static const std::vector<Instruction> all = {
      RUNS("movq %%rcx, (%%rdi)", 0),
      RUNS("movl %%ecx, 4(%%rdi)", 4),
      RUNS("movw %%cx, -6(%%rdi)", -6),
      RUNS("movb %%cl, 3(%%rdi)", 3),
      RUNS("movb %%dl, 8(%%rdi,%%rsi,8)", 24),
      RUNS("movq $-77, 8(%%rdi,%%rsi,8)", 24),
      RUNS("movl $0x80000001, (%%rdi,%%rsi,2)", 4),
      RUNS("movw $-2, 2(%%rdi)", 2),
      RUNS("movb $200, 1(%%rdi)", 1),
      RUNS("xchgq %%rcx, (%%rdi)", 0),
      RUNS("xchgl %%ecx, (%%rdi)", 0),
      RUNS("xchgw %%cx, (%%rdi)", 0),
      RUNS("xchgb %%cl, (%%rdi)", 0),
      RUNS("lock xaddq %%rcx, (%%rdi)", 0),
      RUNS("lock xaddl %%ecx, (%%rdi)", 0),
      RUNS("lock xaddw %%cx, (%%rdi)", 0),
      RUNS("lock xaddb %%cl, (%%rdi)", 0),
      RUNS("xaddq %%rax, (%%rdi)", 0),
      RUNS("lock cmpxchgq %%rcx, (%%rdi)", 0),
      RUNS("lock cmpxchgl %%ecx, (%%rdi)", 0),
      RUNS("lock cmpxchgw %%cx, (%%rdi)", 0),
      RUNS("lock cmpxchgb %%cl, (%%rdi)", 0),
      RUNS("cmpxchgl %%ecx, (%%rdi)", 0),
      RUNS("lock incq (%%rdi)", 0),
      RUNS("incl (%%rdi)", 0),
      RUNS("lock decw (%%rdi)", 0),
      RUNS("decb (%%rdi)", 0),
      RUNS("notq (%%rdi)", 0),
      RUNS("lock notb (%%rdi)", 0),
      RUNS("lock addq %%rcx, (%%rdi)", 0),
      RUNS("addl $-5, (%%rdi)", 0),
      RUNS("addw $1000, (%%rdi)", 0),
      RUNS("lock subq $1, (%%rdi)", 0),
      RUNS("subb %%cl, (%%rdi)", 0),
      RUNS("lock andl %%ecx, (%%rdi)", 0),
      RUNS("andq $-16, (%%rdi)", 0),
      RUNS("lock orq %%rcx, (%%rdi)", 0),
      RUNS("orb $3, (%%rdi)", 0),
      RUNS("lock xorl %%ecx, (%%rdi)", 0),
      RUNS("xorw $-1, (%%rdi)", 0),
      RUNS("movq (%%rdi), %%rcx", 0),
      RUNS("movl (%%rdi), %%ecx", 0),
      RUNS("movw 2(%%rdi), %%cx", 2),
      RUNS("movb 7(%%rdi), %%cl", 7),
      RUNS("movzbl (%%rdi), %%ecx", 0),
      RUNS("movzwl (%%rdi), %%ecx", 0),
      RUNS("movzbq (%%rdi), %%rcx", 0),
      RUNS("movzbw (%%rdi), %%cx", 0),
      RUNS("movsbl (%%rdi), %%ecx", 0),
      RUNS("movsbq (%%rdi), %%rcx", 0),
      RUNS("movswq (%%rdi), %%rcx", 0),
      RUNS("movslq (%%rdi), %%rcx", 0),
      RUNS("cmpq %%rcx, (%%rdi)", 0),
      RUNS("cmpq (%%rdi), %%rcx", 0),
      RUNS("cmpl $12, (%%rdi)", 0),
      RUNS("cmpw (%%rdi), %%cx", 0),
      RUNS("cmpb $-1, (%%rdi)", 0),
      RUNS("testq %%rcx, (%%rdi)", 0),
      RUNS("testb $1, (%%rdi)", 0),
  };
  return all;
}

// These are left to whoever has the page.
const std::vector<Instruction>& refused() {
  static const std::vector<Instruction> all = {
      RUNS("adcq %%rcx, (%%rdi)", 0),
      RUNS("negq (%%rdi)", 0),
      RUNS("movb %%ah, (%%rdi)", 0),
      RUNS("lock btsq $3, (%%rdi)", 0),
      RUNS("movq %%xmm0, (%%rdi)", 0),
      RUNS("movq (%%rdi), %%xmm0", 0),
      RUNS("movl %%ecx, 2(%%rdi)", 2),
      RUNS("movl %%ecx, (%%edi)", 0),
      RUNS("leaq (%%rdi), %%rcx", 0),
      RUNS("addq (%%rdi), %%rcx", 0),
      RUNS("nop", 0),
  };
  return all;
}

ucontext_t thread_at(const State& state, std::uintptr_t begin, std::uintptr_t rdi) {
  ucontext_t thread{};
  greg_t* const registers = thread.uc_mcontext.gregs;
  registers[REG_RAX] = static_cast<greg_t>(state.rax);
  registers[REG_RCX] = static_cast<greg_t>(state.rcx);
  registers[REG_RDX] = static_cast<greg_t>(state.rdx);
  registers[REG_EFL] = static_cast<greg_t>(state.flags);
  registers[REG_RDI] = static_cast<greg_t>(rdi);
  registers[REG_RSI] = 2;
  registers[REG_RIP] = static_cast<greg_t>(begin);
  return thread;
}

State state_of(const ucontext_t& thread) {
  const greg_t* const registers = thread.uc_mcontext.gregs;
  const auto at = [&](int name) { return static_cast<std::uint64_t>(registers[name]); };
  return {at(REG_RAX), at(REG_RCX), at(REG_RDX), at(REG_EFL)};
}

// The edges of every width, and anything.
std::uint64_t some_value(std::mt19937_64& random) {
  constexpr std::array<std::uint64_t, 10> kEdges = {0,      1,      0x7f,       0x80,  0xff,
                                                    0x7fff, 0x8000, 0x80000000, ~0ULL, 1ULL << 63};
  return random() % 2 == 0 ? kEdges[random() % kEdges.size()] : random();
}

State some_state(std::mt19937_64& random) {
  return {some_value(random), some_value(random), some_value(random), kFlagsAlways | (random() & kFlags)};
}

TEST(EmulatedAccess, LeavesWhatTheProcessorDoes) {
  std::mt19937_64 random(1);
  constexpr std::uintptr_t kElsewhere = 0x7000'0000'1000;  // nothing is mapped there
  for (const Instruction& instruction : instructions()) {
    SCOPED_TRACE(instruction.text);
    for (int round = 0; round < 500; ++round) {
      const State before = some_state(random);
      Memory memory;
      for (std::uint64_t& word : memory) word = some_value(random);
      if (round % 3 == 0) memory[kFirst] = before.rax;  // a comparison that succeeds
      Memory expected = memory;
      State after = before;
      const Code code = instruction.run(after, &expected[kFirst]);
      after.flags = (after.flags & kFlags) | kFlagsAlways;

      ucontext_t thread = thread_at(before, code.begin, kElsewhere);
      auto* const where = reinterpret_cast<std::byte*>(&memory[kFirst]) + instruction.offset;
      ASSERT_TRUE(
          emulate_access(thread, kElsewhere + static_cast<std::uintptr_t>(instruction.offset), where, Access::kWrite));
      ASSERT_EQ(static_cast<std::uintptr_t>(thread.uc_mcontext.gregs[REG_RIP]), code.end);
      ASSERT_EQ(state_of(thread), after);
      ASSERT_EQ(memory, expected);
    }
  }
}

TEST(EmulatedAccess, LeavesOthersAlone) {
  for (const Instruction& instruction : refused()) {
    SCOPED_TRACE(instruction.text);
    Memory memory{};
    const State before{1, 2, 3, kFlagsAlways};
    State native = before;
    const bool low = std::string_view(instruction.text).find("edi") != std::string_view::npos;
    // Its address does not fit into 32 bits: only where it stands is of interest.
    Code code{};
    if (low) {
      asm volatile("jmp 772f\n771:\tmovl %%ecx, (%%edi)\n772:\tlea 771b(%%rip), %0" : "=r"(code.begin));
    } else {
      code = instruction.run(native, &memory[kFirst]);
    }
    const Memory kept = memory;
    const std::uintptr_t rdi = low ? 0x1000 : 0x7000'0000'1000;
    ucontext_t thread = thread_at(before, code.begin, rdi);
    EXPECT_FALSE(emulate_access(thread, rdi + static_cast<std::uintptr_t>(instruction.offset),
                                reinterpret_cast<std::byte*>(&memory[kFirst]) + instruction.offset, Access::kWrite));
    EXPECT_EQ(static_cast<std::uintptr_t>(thread.uc_mcontext.gregs[REG_RIP]), code.begin);
    EXPECT_EQ(state_of(thread), before);
    EXPECT_EQ(memory, kept);
  }
}

// What is not at the faulting address, what only a reader asks for, and what a debugger steps through.
TEST(EmulatedAccess, IsCarefulWithWhatItIsTold) {
  const Instruction store = RUNS("movq %%rcx, (%%rdi)", 0);
  Memory memory{};
  State native{1, 2, 3, kFlagsAlways};
  const Code code = store.run(native, &memory[kFirst]);
  memory = {};
  constexpr std::uintptr_t kAt = 0x7000'0000'1000;
  auto* const where = reinterpret_cast<std::byte*>(&memory[kFirst]);
  const State before{1, 2, 3, kFlagsAlways};
  ucontext_t thread = thread_at(before, code.begin, kAt);
  EXPECT_FALSE(emulate_access(thread, kAt + 8, where, Access::kWrite));
  EXPECT_FALSE(emulate_access(thread, kAt, where, Access::kRead));
  thread.uc_mcontext.gregs[REG_EFL] |= 0x100;
  EXPECT_FALSE(emulate_access(thread, kAt, where, Access::kWrite));
  EXPECT_EQ(memory, Memory{});
  thread.uc_mcontext.gregs[REG_EFL] &= ~greg_t{0x100};
  EXPECT_TRUE(emulate_access(thread, kAt, where, Access::kWrite));
  EXPECT_EQ(memory[kFirst], 2U);
}

// One that ends with its page, behind which there is nothing, and one that goes on there.
TEST(EmulatedAccess, ReadsNoFurtherThanTheInstruction) {
  constexpr std::array<unsigned char, 3> kStore = {0x48, 0x89, 0x0f};  // mov %rcx, (%rdi)
  auto* const pages = static_cast<unsigned char*>(
      ::mmap(nullptr, 3 * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(pages, MAP_FAILED);
  ::mprotect(pages + 2 * kPageBytes, kPageBytes, PROT_NONE);
  for (unsigned char* const at : {pages + kPageBytes - 1, pages + 2 * kPageBytes - kStore.size()}) {
    std::copy(kStore.begin(), kStore.end(), at);
    std::uint64_t word = 0;
    ucontext_t thread = thread_at({1, 5, 3, kFlagsAlways}, reinterpret_cast<std::uintptr_t>(at), 0x7000'0000'1000);
    EXPECT_TRUE(emulate_access(thread, 0x7000'0000'1000, reinterpret_cast<std::byte*>(&word), Access::kWrite));
    EXPECT_EQ(word, 5U);
  }
  ::munmap(pages, 3 * kPageBytes);
}

std::uint64_t global_word;

TEST(EmulatedAccess, KnowsAddressesRelativeToTheInstruction) {
  std::uintptr_t begin = 0;
  asm volatile("771:\tmovq %%rcx, %1\n\tlea 771b(%%rip), %0" : "=r"(begin), "=m"(global_word) : "c"(std::uint64_t{9}));
  std::uint64_t elsewhere = 0;
  ucontext_t thread = thread_at({1, 11, 3, kFlagsAlways}, begin, 0);
  EXPECT_TRUE(emulate_access(thread, reinterpret_cast<std::uintptr_t>(&global_word),
                             reinterpret_cast<std::byte*>(&elsewhere), Access::kWrite));
  EXPECT_EQ(elsewhere, 11U);
  EXPECT_EQ(global_word, 9U);
}

}  // namespace
}  // namespace dsm::mem
