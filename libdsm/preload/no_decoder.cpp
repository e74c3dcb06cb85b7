// Zydis, as far as the engines know it, without Zydis: no store of an unmodified program is made in its stead, since it
// hands pages to system calls behind its stores. A page that was gained for one goes as all others do.
#include <Zydis/Zydis.h>

extern "C" {
ZyanStatus ZydisDecoderInit(ZydisDecoder*, ZydisMachineMode, ZydisStackWidth) { return ZYAN_STATUS_FAILED; }
ZyanStatus ZydisDecoderDecodeFull(const ZydisDecoder*, const void*, ZyanUSize, ZydisDecodedInstruction*,
                                  ZydisDecodedOperand*) {
  return ZYAN_STATUS_FAILED;
}
ZydisRegister ZydisRegisterGetLargestEnclosing(ZydisMachineMode, ZydisRegister) { return ZYDIS_REGISTER_NONE; }
}
