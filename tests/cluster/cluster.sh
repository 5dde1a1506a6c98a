#!/bin/sh
# cluster.sh up: start a cluster and a Docker engine, and print the variables to use them, for eval.
# cluster.sh hints: print how to access the services in the cluster.
# cluster.sh down: stop what `up` has started.
#
# kind creates the cluster, named crm-bot. Where kind cannot run, CLUSTER_TOOLS is a folder of scripts that replace it:
#   up.sh              starts a cluster unless it is running, and prints the path of its KUBECONFIG
#   down.sh            stops it
#   tools.sh           prints the folder of kubectl, helm and skaffold
#   docker-up.sh       starts a Docker engine unless one responds; `docker-up.sh down` stops the one it has started
#   base-image.sh TAG  builds the base image of the services
#   load-image.sh TAG  loads an image into the cluster
#   keda.sh            installs KEDA
#   prometheus.sh      installs the Prometheus Operator and a Prometheus, both in the namespace monitoring
set -eu
namespace=crm-bot
[ -z "${CLUSTER_TOOLS:-}" ] || CLUSTER_TOOLS=$(cd "$CLUSTER_TOOLS" && pwd)

up() {
    if [ -n "${CLUSTER_TOOLS:-}" ]; then
        base=python-base:bookworm
        folder=$("$CLUSTER_TOOLS/tools.sh")
        PATH=$folder:$PATH
        KUBECONFIG=$("$CLUSTER_TOOLS/up.sh")
        export KUBECONFIG
        "$CLUSTER_TOOLS/docker-up.sh" >&2
        docker image inspect "$base" >/dev/null 2>&1 || "$CLUSTER_TOOLS/base-image.sh" "$base" >&2
        echo "export PATH='$folder':\$PATH BASE_IMAGE=$base LOAD_IMAGE='$CLUSTER_TOOLS/load-image.sh' SKAFFOLD_PROFILE=no-registry"
        echo "export INSTALL_OPERATORS='$CLUSTER_TOOLS/keda.sh && $CLUSTER_TOOLS/prometheus.sh'"
    else
        KUBECONFIG=${KUBECONFIG:-$HOME/.kube/config}
        export KUBECONFIG
        kind get clusters | grep -qx crm-bot || kind create cluster --name crm-bot >&2
        kubectl config use-context kind-crm-bot >&2
        echo "export LOAD_IMAGE='kind load docker-image --name crm-bot' SKAFFOLD_PROFILE=kind"
    fi
    # Without its cache, skaffold runs its hooks for every image, which load those that the cluster lacks.
    echo "export SKAFFOLD_CACHE_ARTIFACTS=false SKAFFOLD_INTERACTIVE=false SKAFFOLD_UPDATE_CHECK=false"
    echo "export KUBECONFIG='$KUBECONFIG' CLUSTER_CONTEXT=$(kubectl config current-context)"
    # The namespace of the platform and the releases enforces the Pod Security Standard `restricted`.
    kubectl create namespace "$namespace" --dry-run=client --output yaml | kubectl apply --filename - >&2
    kubectl label --overwrite namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >&2
}

hints() {
    cat <<END

The platform and the MRFs run in the namespace $namespace:
  export PATH=$(dirname "$(command -v kubectl)"):\$PATH KUBECONFIG=$KUBECONFIG
  kubectl config set-context --current --namespace $namespace
  kubectl get pods
Check that every row of mrf1 is in the warehouse:
  kubectl exec mrf1-bot-0 -- crmbot-producer audit --wait 60
Airflow, Prometheus and Grafana, on localhost:8080, :9090 and :3000; \`helm get notes platform\` shows how to get the passwords:
  kubectl port-forward service/platform-airflow 8080
  kubectl port-forward service/platform-prometheus 9090
  kubectl port-forward service/platform-grafana 3000
Stop the cluster: make cluster-down
END
}

down() {
    if [ -n "${CLUSTER_TOOLS:-}" ]; then
        "$CLUSTER_TOOLS/down.sh" --purge
        "$CLUSTER_TOOLS/docker-up.sh" down
    else
        kind delete cluster --name crm-bot
    fi
}

case ${1:-} in
up | hints | down) "$1" ;;
*)
    echo "usage: $0 up|hints|down" >&2
    exit 2
    ;;
esac
