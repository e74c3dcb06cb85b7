// The nodes' standard output and error, line by line onto dsmrun's own; and dsmrun's terminal to node 0.
//
// One thread of its own, so that a slow reader of dsmrun's output holds up the nodes' writing and nothing else.
// 1. A line is written whole: lines of different nodes never mix. A line of more than kLineMax is cut into such pieces.
// 2. stdout and stderr stay apart. Order is kept within each stream, not between streams.
// 3. When dsmrun's own reader is gone, the nodes' pipes are closed, so that they see what they would see without us.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "cluster/input.h"
#include "cluster/unique_fd.h"

namespace dsm::cluster {

class Output {
 public:
  static constexpr std::size_t kLineMax = std::size_t{1} << 20;

  static Result<std::unique_ptr<Output>> make(bool prefix);
  ~Output();

  // The ends that a node writes to.
  struct Ends {
    UniqueFd out;
    UniqueFd err;
  };
  Result<Ends> add_node(unsigned node);
  void set_input(TerminalInput input) { input_ = std::move(input); }
  void start();
  // The nodes have ended: takes what is left in their pipes, writes it, and stops. May block on dsmrun's own output.
  void finish();

 private:
  struct Stream {
    UniqueFd from;
    int to;
    std::string prefix;
    std::string waiting;  // the beginning of a line
  };

  explicit Output(bool prefix) : prefix_(prefix) {}
  Result<UniqueFd> add_stream(unsigned node, int to);
  void run();
  void pump();                       // waits for something to read, and takes it
  bool take(Stream& stream);         // reads once; false if nothing was there; closes the stream at its end
  void write_lines(Stream& stream);  // the whole lines of `waiting`
  void write_rest(Stream& stream);   // what is left of it
  void write(Stream& stream, const std::string& text);

  const bool prefix_;
  std::vector<Stream> streams_;
  TerminalInput input_;
  UniqueFd stop_;
  std::thread thread_;
};

}  // namespace dsm::cluster
