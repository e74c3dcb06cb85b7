// Functions that run on another node, where the data is.
//
//   dsm::future<long> sum = dsm::spawn_on(2, [](long a, long b) { return a + b; }, 1L, 2L);
//   use(sum.get());
//
//   const auto grow = [](dsm::own_ptr<Tree> t) { dsm::borrow_mut(t)->grow(); return t; };
//   auto grown = dsm::spawn_to(tree, grow, std::move(tree));
//   tree = grown.get();
//
// The function is a function pointer of the program or a lambda without captures; arguments and result travel by value
// (dsm::travels: an own_ptr moves). An argument may be a function pointer of the program, too; one within a struct, or
// in what a lambda captures, would be an address of this node. The function runs on one of the node's worker threads
// and may do whatever a thread of the program may: block, borrow, spawn. When all workers are busy more are started.
// Tasks of one node begin in the order in which they come. All nodes must run the same program; that is checked. A node
// has at the most 2048 functions under way on others; who spawns more waits for the end of one, whichever thread's it
// is. There may be any number of futures. With memory nodes only in a job of one program node: a function for another
// node ends the program with a clear line.
//
// An exception does not leave its node: get() ends the program with its text, unless failure() was looked at before.
// Spawning is thread-safe; a future is for one thread at a time.
#pragma once

#include <dsm/packed.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#pragma GCC visibility push(default)
namespace dsm {

namespace detail {

// Runs a function with the arguments at `data`, which takes its result too. Null, or what an exception said.
using spawned = const char* (*)(std::byte* data, char (&said)[128]);
class task;
[[noreturn]] void end_for_no_task(const char* what, call_site site);
task* spawn_task(unsigned node, spawned run, std::size_t argument_bytes, std::size_t bytes);
std::byte* task_data(task*);
void task_send(task*);
void task_wait(task*);                  // for its end
const char* task_failure(const task*);  // null: it returned
[[noreturn]] void task_end_for(const task*);
void task_destroy(task*);  // waits for its end
struct task_deleter {
  void operator()(task* done) const { task_destroy(done); }
};

}  // namespace detail

// The end of a spawned function. Its destructor waits for it.
template <typename R>
class future {
 public:
  future() = default;
  explicit future(detail::task* task) : task_(task) {}
  future(future&&) noexcept = default;
  future& operator=(future&& other) noexcept {
    if (this != &other) {
      if (task_ != nullptr) drop();
      task_ = std::move(other.task_);
    }
    return *this;
  }
  ~future() {
    if (task_ != nullptr) drop();
  }

  explicit operator bool() const { return task_ != nullptr; }
  // These three are for a future that has a function: not an empty one, and not after get().
  void wait(dsm::source_location where = dsm::source_location::current()) const { wait_for("wait()", where); }
  // Waits; the text of the exception that the function has thrown, if it has.
  std::optional<std::string> failure(dsm::source_location where = dsm::source_location::current()) const {
    wait_for("failure()", where);
    const char* const said = detail::task_failure(task_.get());
    return said == nullptr ? std::nullopt : std::optional<std::string>(said);
  }
  // Waits; once.
  R get(dsm::source_location where = dsm::source_location::current()) {
    wait_for("get()", where);
    if (detail::task_failure(task_.get()) != nullptr) detail::task_end_for(task_.get());
    const std::unique_ptr<detail::task, detail::task_deleter> done = std::move(task_);
    if constexpr (!std::is_void_v<R>) {
      auto* const made = std::launder(reinterpret_cast<R*>(detail::task_data(done.get())));
      R result(std::move(*made));
      std::destroy_at(made);
      return result;
    }
  }

 private:
  void wait_for(const char* what, detail::call_site site) const {
    if (task_ == nullptr) detail::end_for_no_task(what, site);
    detail::task_wait(task_.get());
  }
  void drop() {
    detail::task_wait(task_.get());
    if constexpr (!std::is_void_v<R>) {
      if (detail::task_failure(task_.get()) == nullptr) {
        std::destroy_at(std::launder(reinterpret_cast<R*>(detail::task_data(task_.get()))));
      }
    }
  }

  std::unique_ptr<detail::task, detail::task_deleter> task_;
};

namespace detail {

inline const char* say(char (&said)[128], const char* what) {
  std::strncpy(said, what, sizeof said - 1);
  said[sizeof said - 1] = '\0';
  return said;
}

template <typename F, typename... Args>
struct spawn_of {
  using function = travelling_function<F>;
  using arguments = packed<Args...>;
  using result = std::invoke_result_t<F, Args...>;
  static constexpr std::size_t argument_bytes = function::bytes + arguments::bytes;
  static constexpr std::size_t result_bytes() {
    if constexpr (std::is_void_v<result>) {
      return 0;
    } else {
      static_assert(!is_function_pointer<result>,
                    "a function's address is another one on each node: it cannot be a result");
      static_assert(travels<result> && alignof(result) <= 8, "the result is copied as bytes; see dsm::travels");
      return sizeof(result);
    }
  }
  static const char* run(std::byte* data, char (&said)[128]) {
    const auto call = [&](Args&&... args) -> result { return function::get(data)(std::move(args)...); };
    try {
      if constexpr (std::is_void_v<result>) {
        arguments::run(data + function::bytes, call);
      } else {
        result made = arguments::run(data + function::bytes, call);
        ::new (static_cast<void*>(data)) result(std::move(made));
      }
      return nullptr;
    } catch (const std::exception& thrown) {
      return say(said, thrown.what());
    } catch (...) {
      return say(said, "something that is no std::exception");
    }
  }
};

inline unsigned program_node(unsigned at) { return at < nodes() ? at : node(); }

}  // namespace detail

// Runs fn(args...) on `node`.
template <typename F, typename... Args>
[[nodiscard]] auto spawn_on(unsigned node, F fn, Args... args) {
  using spawn = detail::spawn_of<F, Args...>;
  constexpr std::size_t bytes =
      spawn::argument_bytes > spawn::result_bytes() ? spawn::argument_bytes : spawn::result_bytes();
  detail::task* const task = detail::spawn_task(node, &spawn::run, spawn::argument_bytes, bytes);
  std::byte* const data = detail::task_data(task);
  spawn::function::put(data, fn);
  spawn::arguments::put(data + spawn::function::bytes, std::move(args)...);
  detail::task_send(task);
  return future<typename spawn::result>(task);
}
// ... where the object is; on this node if that is on a memory node.
template <typename T, typename F, typename... Args>
[[nodiscard]] auto spawn_to(const T* object, F fn, Args... args) {
  return spawn_on(detail::program_node(home(object)), fn, std::move(args)...);
}
template <typename T, typename F, typename... Args>
[[nodiscard]] auto spawn_to(const own_ptr<T>& object, F fn, Args... args) {
  return spawn_on(detail::program_node(object.home()), fn, std::move(args)...);
}

}  // namespace dsm
#pragma GCC visibility pop
