#include "tools/stats_json.h"

namespace dsm::tools {

namespace {

using Json = nlohmann::ordered_json;

Json latencies_json(const Latencies& latencies) {
  Json json;
  json["events"] = latencies.count();
  json["p50_ns"] = latencies.quantile_ns(0.5);
  json["p99_ns"] = latencies.quantile_ns(0.99);
  json["max_ns"] = latencies.max_ns;
  json["buckets"] = latencies.buckets;  // bucket i: events of [2^i, 2^(i+1)) ns
  return json;
}

void put_view(Json& json, const NodeView& view) {
  Json& counters = json["counters"] = Json::object();
  for (std::size_t i = 0; i < view.counters.size(); ++i) counters[counter_table()[i].name] = view.counters[i];
  Json& latencies = json["latencies"] = Json::object();
  for (std::size_t i = 0; i < view.latencies.size(); ++i) {
    latencies[histogram_table()[i].name] = latencies_json(view.latencies[i]);
  }
}

}  // namespace

Json stats_json(const std::vector<NodeView>& nodes) {
  Json json;
  for (const FieldInfo& field : counter_table()) json["units"][field.name] = field.unit;
  for (const FieldInfo& field : histogram_table()) json["units"][field.name] = field.unit;
  json["nodes"] = Json::array();
  for (std::size_t node = 0; node < nodes.size(); ++node) {
    Json one;
    one["node"] = node;
    one["pid"] = nodes[node].pid;
    one["engine"] = nodes[node].engine;
    put_view(one, nodes[node]);
    json["nodes"].push_back(std::move(one));
  }
  put_view(json["total"] = Json::object(), total_of(nodes));
  return json;
}

Json rates_json(const std::vector<double>& rates) {
  Json json = Json::object();
  for (std::size_t i = 0; i < rates.size(); ++i) json[counter_table()[i].name] = rates[i];
  return json;
}

}  // namespace dsm::tools
