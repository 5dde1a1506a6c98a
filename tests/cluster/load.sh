#!/bin/sh
# A hook of skaffold.yaml: loads $SKAFFOLD_IMAGE with the command $LOAD_IMAGE into a cluster that skaffold does not
# support. Skaffold tags an image that it does not push with the image's id.
set -eu
[ -n "${LOAD_IMAGE:-}" ] || exit 0
id=$(docker image inspect --format '{{.Id}}' "$SKAFFOLD_IMAGE")
image="${SKAFFOLD_IMAGE%:*}:${id#sha256:}"
case $(kubectl get nodes --output jsonpath='{.items[*].status.images[*].names}') in *"$image"*) exit 0 ;; esac
docker tag "$SKAFFOLD_IMAGE" "$image"
exec $LOAD_IMAGE "$image"
