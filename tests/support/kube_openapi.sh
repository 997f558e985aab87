#!/bin/sh
# Takes out of Kubernetes' OpenAPI description what tests check the API server of kube_api.rs
# with, and writes it to kube_openapi.json:
#
#   sh tests/support/kube_openapi.sh PATH/TO/kubernetes/api/openapi-spec/swagger.json
#
# The description is Kubernetes', under the Apache License 2.0 (see LICENSE). Texts are left out, and so
# are types that no test uses: a reference to one of those leads nowhere, and fails the test.
set -eu
swagger=${1:?usage: kube_openapi.sh SWAGGER_JSON}
jq --sort-keys '
  ["io.k8s.api.core.v1.Container", "io.k8s.api.core.v1.Event",
   "io.k8s.api.core.v1.EventSource",
   "io.k8s.api.core.v1.LocalObjectReference", "io.k8s.api.core.v1.ObjectReference",
   "io.k8s.api.core.v1.Pod", "io.k8s.api.core.v1.PodSpec", "io.k8s.api.core.v1.Secret",
   "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta",
   "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
   "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
   "io.k8s.apimachinery.pkg.apis.meta.v1.StatusCause",
   "io.k8s.apimachinery.pkg.apis.meta.v1.StatusDetails",
   "io.k8s.apimachinery.pkg.apis.meta.v1.Time"] as $types |
  [["/api/v1/namespaces/{namespace}/events", "post", "201"],
   ["/api/v1/namespaces/{namespace}/events/{name}", "patch", "200"],
   ["/api/v1/namespaces/{namespace}/pods/{name}", "get", "200"],
   ["/api/v1/namespaces/{namespace}/secrets/{name}", "get", "200"]] as $paths |
  def bare: walk(if type == "object" then
      with_entries(select((.key == "description" and (.value | type) == "string"
        or (.key | startswith("x-kubernetes-"))) | not))
    else . end);
  . as $all | {
    origin: "kubernetes v1.36.2, api/openapi-spec/swagger.json, Apache-2.0; made by kube_openapi.sh",
    paths: ($paths | map(. as [$path, $method, $status] | {key: $path, value: {($method): {
      answer: $all.paths[$path][$method].responses[$status].schema}}}) | from_entries),
    definitions: ($types | map({key: ., value: ($all.definitions[.] | bare)}) | from_entries)
  }' "$swagger" > "$(dirname "$0")/kube_openapi.json"
