/* Hints for C: object-granular access by address. <dsm/hints.h> explains borrows and their rules.
 *
 *   const struct account* r = dsm_borrow_shared(account, sizeof *account);   // as it was when the borrow began
 *   dsm_release(r);
 *   struct account* w = dsm_borrow_mut(account, sizeof *account);            // nobody else changes it meanwhile
 *   w->balance += 10;
 *   dsm_release(w);
 *
 * What a borrow returns is valid until dsm_release() and is used in place of the object's own address. Each borrow is
 * released once, by the thread that borrowed it. A call that makes no sense ends the program with one line. */
#ifndef DSM_HINTS_C_H
#define DSM_HINTS_C_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define dsm_borrow_shared(object, bytes) dsm_borrow_shared_at((object), (bytes), __FILE__, __LINE__)
#define dsm_borrow_mut(object, bytes) dsm_borrow_mut_at((object), (bytes), __FILE__, __LINE__)
#define dsm_release(borrowed) dsm_release_at((borrowed), 1, __FILE__, __LINE__)
/* Nothing was written through a mutable borrow: other nodes' copies stay good. */
#define dsm_release_unchanged(borrowed) dsm_release_at((borrowed), 0, __FILE__, __LINE__)
/* Makes `node` the standing owner of the object: its later borrows need no network, until another node borrows it. */
#define dsm_transfer(object, bytes, node) dsm_transfer_at((object), (bytes), (node), __FILE__, __LINE__)

const void* dsm_borrow_shared_at(const void* object, size_t bytes, const char* file, unsigned line);
void* dsm_borrow_mut_at(void* object, size_t bytes, const char* file, unsigned line);
void dsm_release_at(const void* borrowed, int changed, const char* file, unsigned line);
void dsm_transfer_at(void* object, size_t bytes, unsigned node, const char* file, unsigned line);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
