// Which instruction it is Zydis knows; this file knows what it does. Zydis allocates nothing and takes no locks.
#include "mem/emulated_access.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <array>
#include <optional>
#include <type_traits>

#include "base/types.h"

namespace dsm::mem {
namespace {

constexpr greg_t kCarry = 1 << 0, kOverflow = 1 << 11, kTrapFlag = 1 << 8, kResumeFlag = 1 << 16;
constexpr greg_t kResultFlags = kCarry | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7 | kOverflow;
constexpr std::size_t kLongestInstruction = 15;

struct Instruction {
  ZydisDecodedInstruction whole;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;

  ZydisMnemonic name() const { return whole.mnemonic; }
  bool is_memory(std::size_t at) const { return operands[at].type == ZYDIS_OPERAND_TYPE_MEMORY; }
  // The operand that lies in memory, and the other one, if there is one.
  const ZydisDecodedOperand& memory() const { return operands[is_memory(0) ? 0 : 1]; }
  const ZydisDecodedOperand& other() const { return operands[is_memory(0) ? 1 : 0]; }
  bool stores() const { return is_memory(0) && (operands[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0; }
};

// Where the kernel keeps a 64-bit register, by the processor's numbers.
constexpr std::array<int, 16> kSaved = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                        REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

// nullptr: not a general register, or one of the old halves (ah), which nobody uses for this.
greg_t* saved(ucontext_t& thread, ZydisRegister name) {
  if (name >= ZYDIS_REGISTER_AH && name <= ZYDIS_REGISTER_BH) return nullptr;
  const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, name);
  if (whole < ZYDIS_REGISTER_RAX || whole > ZYDIS_REGISTER_R15) return nullptr;
  return &thread.uc_mcontext.gregs[kSaved[static_cast<std::size_t>(whole - ZYDIS_REGISTER_RAX)]];
}

bool decode(const ucontext_t& thread, Instruction& found) {
  const auto at = static_cast<std::uintptr_t>(thread.uc_mcontext.gregs[REG_RIP]);
  ZydisDecoder decoder;
  if (!ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64))) return false;
  // What follows the instruction may lie on a page that is not there. One that goes on there has been fetched from it.
  const std::size_t here = std::min(kPageBytes - at % kPageBytes, kLongestInstruction);
  for (const std::size_t most : {here, kLongestInstruction}) {
    const ZyanStatus status =
        ZydisDecoderDecodeFull(&decoder, reinterpret_cast<const void*>(at), most, &found.whole, found.operands.data());
    if (ZYAN_SUCCESS(status)) return true;
    if (status != ZYDIS_STATUS_NO_MORE_DATA) break;
  }
  return false;
}

// The address of the operand in memory; 0 if there is none, or none that is told here.
std::uintptr_t memory_address(ucontext_t& thread, const Instruction& instruction) {
  const auto& memory = instruction.memory().mem;
  if (instruction.memory().type != ZYDIS_OPERAND_TYPE_MEMORY || memory.type != ZYDIS_MEMOP_TYPE_MEM) return 0;
  if (memory.segment != ZYDIS_REGISTER_DS && memory.segment != ZYDIS_REGISTER_SS) return 0;
  if (instruction.whole.address_width != 64) return 0;
  auto address = memory.disp.has_displacement ? static_cast<std::uintptr_t>(memory.disp.value) : 0;
  if (memory.base == ZYDIS_REGISTER_RIP) {
    address += static_cast<std::uintptr_t>(thread.uc_mcontext.gregs[REG_RIP]) + instruction.whole.length;
  } else if (memory.base != ZYDIS_REGISTER_NONE) {
    const greg_t* const base = saved(thread, memory.base);
    if (base == nullptr) return 0;
    address += static_cast<std::uintptr_t>(*base);
  }
  if (memory.index == ZYDIS_REGISTER_NONE) return address;
  const greg_t* const index = saved(thread, memory.index);
  return index == nullptr ? 0 : address + static_cast<std::uintptr_t>(*index) * memory.scale;
}

// The operand that is not in memory.
struct Operand {
  greg_t* in_register;  // nullptr: a constant, or none
  std::uint64_t value;
};

std::optional<Operand> other_operand(ucontext_t& thread, const Instruction& instruction) {
  if (instruction.whole.operand_count_visible == 1) return Operand{nullptr, 1};  // inc and dec are steps of one
  const ZydisDecodedOperand& other = instruction.other();
  if (instruction.whole.operand_count_visible != 2) return std::nullopt;
  if (other.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) return Operand{nullptr, other.imm.value.u};
  if (other.type != ZYDIS_OPERAND_TYPE_REGISTER) return std::nullopt;
  greg_t* const from = saved(thread, other.reg.value);
  if (from == nullptr) return std::nullopt;
  return Operand{from, static_cast<std::uint64_t>(*from)};
}

// As the processor does: of 4 bytes the upper half becomes zero, fewer leave the rest as it is.
void put(greg_t& place, std::uint64_t value, std::size_t bytes) {
  const auto before = static_cast<std::uint64_t>(place);
  const std::uint64_t mask = bytes == 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << 8 * bytes) - 1;
  const std::uint64_t rest = bytes >= 4 ? 0 : before & ~mask;
  place = static_cast<greg_t>(rest | (value & mask));
}

// What lahf and seto have left of the flags: all but overflow in the second byte, overflow in the first.
void put_flags(ucontext_t& thread, std::uint64_t told, greg_t which) {
  const auto flags = static_cast<greg_t>((told >> 8 & 0xff) | ((told & 1) != 0 ? std::uint64_t{kOverflow} : 0));
  greg_t& place = thread.uc_mcontext.gregs[REG_EFL];
  place = (place & ~which) | (flags & which);
}

// Nothing is pushed to get at the flags: below its stack pointer the compiler may keep something.
#define DSM_LOCKED(name, word, by, told)                               \
  asm volatile("lock " name " %[value], %[place]\n\tlahf\n\tseto %%al" \
               : [place] "+m"(word), [value] "+q"(by), "=&a"(told)     \
               :                                                       \
               : "cc", "memory")
#define DSM_COMPARED(name, left, right, told)                  \
  asm volatile(name " %[value], %[place]\n\tlahf\n\tseto %%al" \
               : "=&a"(told)                                   \
               : [place] "q"(left), [value] "q"(right)         \
               : "cc")

template <typename Word>
bool store(ucontext_t& thread, const Instruction& instruction, Word& word, const Operand& operand) {
  auto by = static_cast<Word>(operand.value);
  std::uint64_t told = 0;
  switch (instruction.name()) {
    case ZYDIS_MNEMONIC_MOV:
      __atomic_store_n(&word, by, __ATOMIC_RELEASE);
      return true;
    case ZYDIS_MNEMONIC_XCHG:
      put(*operand.in_register, __atomic_exchange_n(&word, by, __ATOMIC_SEQ_CST), sizeof(Word));
      return true;
    case ZYDIS_MNEMONIC_NOT:
      __atomic_xor_fetch(&word, static_cast<Word>(~Word{0}), __ATOMIC_SEQ_CST);
      return true;
    case ZYDIS_MNEMONIC_XADD:
      DSM_LOCKED("xadd", word, by, told);
      put(*operand.in_register, by, sizeof(Word));
      break;
    case ZYDIS_MNEMONIC_CMPXCHG: {
      auto accumulator = static_cast<std::uint64_t>(thread.uc_mcontext.gregs[REG_RAX]);
      std::uint64_t found = 0;
      asm volatile("lock cmpxchg %[value], %[place]\n\tmov %%rax, %[found]\n\tlahf\n\tseto %%al"
                   : [place] "+m"(word), "+&a"(accumulator), [found] "=&r"(found)
                   : [value] "q"(by)
                   : "cc", "memory");
      thread.uc_mcontext.gregs[REG_RAX] = static_cast<greg_t>(found);
      told = accumulator;
      break;
    }
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_ADD:
      DSM_LOCKED("add", word, by, told);
      break;
    case ZYDIS_MNEMONIC_DEC:
    case ZYDIS_MNEMONIC_SUB:
      DSM_LOCKED("sub", word, by, told);
      break;
    case ZYDIS_MNEMONIC_AND:
      DSM_LOCKED("and", word, by, told);
      break;
    case ZYDIS_MNEMONIC_OR:
      DSM_LOCKED("or", word, by, told);
      break;
    case ZYDIS_MNEMONIC_XOR:
      DSM_LOCKED("xor", word, by, told);
      break;
    default:
      return false;
  }
  const bool steps = instruction.name() == ZYDIS_MNEMONIC_INC || instruction.name() == ZYDIS_MNEMONIC_DEC;
  put_flags(thread, told, steps ? kResultFlags & ~kCarry : kResultFlags);
  return true;
}

template <typename Word>
bool load(ucontext_t& thread, const Instruction& instruction, const Word& word, const Operand& operand) {
  const Word found = __atomic_load_n(&word, __ATOMIC_ACQUIRE);
  const std::size_t bytes = instruction.other().size / 8U;
  const auto by = static_cast<Word>(operand.value);
  std::uint64_t told = 0;
  switch (instruction.name()) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVZX:
      put(*operand.in_register, found, bytes);
      return true;
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
      put(*operand.in_register, static_cast<std::uint64_t>(static_cast<std::make_signed_t<Word>>(found)), bytes);
      return true;
    case ZYDIS_MNEMONIC_CMP:
      if (instruction.is_memory(0)) {
        DSM_COMPARED("cmp", found, by, told);
      } else {
        DSM_COMPARED("cmp", by, found, told);
      }
      break;
    case ZYDIS_MNEMONIC_TEST:
      DSM_COMPARED("test", found, by, told);
      break;
    default:
      return false;
  }
  put_flags(thread, told, kResultFlags);
  return true;
}

#undef DSM_LOCKED
#undef DSM_COMPARED

template <typename Word>
bool run(ucontext_t& thread, const Instruction& instruction, std::byte* where, const Operand& operand) {
  Word& word = *reinterpret_cast<Word*>(where);
  return instruction.stores() ? store(thread, instruction, word, operand) : load(thread, instruction, word, operand);
}

}  // namespace

bool emulate_access(ucontext_t& thread, std::uintptr_t address, std::byte* where, Access granted) {
  greg_t* const registers = thread.uc_mcontext.gregs;
  if ((registers[REG_EFL] & kTrapFlag) != 0) return false;  // a debugger wants to see it
  Instruction instruction;
  // The second page of an access across two pages is not where the access begins.
  if (!decode(thread, instruction) || memory_address(thread, instruction) != address) return false;
  if (!allows(granted, instruction.stores() ? Access::kWrite : Access::kRead)) return false;
  const auto operand = other_operand(thread, instruction);
  const std::size_t bytes = instruction.memory().size / 8U;
  if (!operand || bytes == 0 || address % bytes != 0) return false;
  bool done = false;
  if (bytes == 8) done = run<std::uint64_t>(thread, instruction, where, *operand);
  if (bytes == 4) done = run<std::uint32_t>(thread, instruction, where, *operand);
  if (bytes == 2) done = run<std::uint16_t>(thread, instruction, where, *operand);
  if (bytes == 1) done = run<std::uint8_t>(thread, instruction, where, *operand);
  if (!done) return false;
  registers[REG_RIP] += instruction.whole.length;
  registers[REG_EFL] &= ~kResumeFlag;
  return true;
}

void prepare_emulation() {
  static const volatile std::uint8_t kReturn[kLongestInstruction] = {0xc3};
  ucontext_t thread{};
  thread.uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(&kReturn);
  emulate_access(thread, 0, nullptr, Access::kNone);
}

}  // namespace dsm::mem
