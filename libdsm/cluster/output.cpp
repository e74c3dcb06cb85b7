#include "cluster/output.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>

#include "base/signals.h"
#include "cluster/write_all.h"

namespace dsm::cluster {

namespace {

constexpr std::size_t kReadBytes = 64 << 10;
constexpr std::size_t kPipeMax = 1 << 20;  // what a pipe holds at the most, unless an administrator allowed more
// How soon a terminal that has become ours is read again.
constexpr int kTerminalMs = 500;

}  // namespace

Result<std::unique_ptr<Output>> Output::make(bool prefix) {
  auto output = std::unique_ptr<Output>(new Output(prefix));
  output->stop_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!output->stop_) return fail(Errc::kSystem, "cannot make an event descriptor", errno);
  return output;
}

Output::~Output() { finish(); }

Result<UniqueFd> Output::add_stream(unsigned node, int to) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(Errc::kSystem, "cannot make a pipe", errno);
  Stream stream{UniqueFd(ends[0]), to, prefix_ ? fmt::format("[{}] ", node) : "", ""};
  ::fcntl(stream.from.get(), F_SETFL, O_NONBLOCK);
  streams_.push_back(std::move(stream));
  return UniqueFd(ends[1]);
}

Result<Output::Ends> Output::add_node(unsigned node) {
  auto out = add_stream(node, STDOUT_FILENO);
  if (!out) return tl::unexpected(out.error());
  auto err = add_stream(node, STDERR_FILENO);
  if (!err) return tl::unexpected(err.error());
  return Ends{std::move(*out), std::move(*err)};
}

void Output::start() {
  const SignalsBlocked blocked;
  thread_ = std::thread([this] { run(); });
}

void Output::finish() {
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  static_cast<void>(!::write(stop_.get(), &one, sizeof one));  // an eventfd that is not full takes it
  thread_.join();
}

void Output::run() {
  for (;;) {
    pump();
    std::uint64_t told = 0;
    if (::read(stop_.get(), &told, sizeof told) > 0) break;
  }
  // Whoever still holds a pipe's other end (a daemon that left its node's process group) is not waited for: what a pipe
  // can hold is taken, and no more.
  for (Stream& stream : streams_) {
    for (std::size_t taken = 0; taken <= kPipeMax && take(stream); taken += kReadBytes) {
    }
    write_rest(stream);
  }
}

void Output::pump() {
  std::vector<pollfd> polled{{stop_.get(), POLLIN, 0}, input_.wish()};
  for (const Stream& stream : streams_) polled.push_back({stream.from.get(), POLLIN, 0});
  if (::poll(polled.data(), polled.size(), input_.open() ? kTerminalMs : -1) <= 0) return;
  input_.serve(polled[1]);
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    if (polled[i + 2].revents != 0) take(streams_[i]);
  }
}

bool Output::take(Stream& stream) {
  if (!stream.from) return false;
  const std::size_t before = stream.waiting.size();
  stream.waiting.resize(before + kReadBytes);
  const ssize_t got = ::read(stream.from.get(), stream.waiting.data() + before, kReadBytes);
  stream.waiting.resize(before + static_cast<std::size_t>(got > 0 ? got : 0));
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got <= 0) {
    write_rest(stream);
    stream.from.reset();
    return false;
  }
  write_lines(stream);
  return true;
}

void Output::write_lines(Stream& stream) {
  const std::size_t end = stream.waiting.rfind('\n');
  if (end == std::string::npos) {
    if (stream.waiting.size() >= kLineMax) write_rest(stream);
    return;
  }
  if (stream.prefix.empty()) {
    write(stream, stream.waiting.substr(0, end + 1));
  } else {
    std::string text;
    for (std::size_t from = 0; from <= end;) {
      const std::size_t next = stream.waiting.find('\n', from) + 1;
      text += stream.prefix;
      text.append(stream.waiting, from, next - from);
      from = next;
    }
    write(stream, text);
  }
  stream.waiting.erase(0, end + 1);
}

void Output::write_rest(Stream& stream) {
  if (stream.waiting.empty()) return;
  // Without prefixes bytes pass unchanged; with them, the next line must begin at a line's beginning.
  write(stream, stream.prefix + stream.waiting + (stream.prefix.empty() ? "" : "\n"));
  stream.waiting.clear();
}

void Output::write(Stream& stream, const std::string& text) {
  if (write_all(stream.to, text.data(), text.size())) return;
  stream.from.reset();
}

}  // namespace dsm::cluster
