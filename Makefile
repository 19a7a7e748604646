# The commands of the Skate Physics Preserver. `make` alone lists them.
#   RUNNER=local|docker  VIDEO=clip.mp4  PROMPT="..."  RUN=name  OBJECT=skateboard | BBOX=x1,y1,x2,y2 FRAME=n  ARGS="more options"
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUNNER ?= auto
export SERVER RUNNER GPU SKATE_TAG NODES COMFYUI_SOURCE COMFYUI_PORT COMFYUI_LOWVRAM COMFYUI_RESERVE_VRAM PYTHON_IMAGE
export VIDEO PROMPT RUN OBJECT BBOX FRAME
# values reach the shell through the environment, so that quotes in them are harmless
run_option = $(if $(RUN),--run "$$RUN")
box_option = $(if $(OBJECT),--object "$$OBJECT") $(if $(BBOX),--bbox "$$BBOX" --frame "$${FRAME:-0}")

.DEFAULT_GOAL := help
.PHONY: help demo extract reskin evaluate pipeline build up down test test-all lint weights frame bench-memory bench-tracker bench-posegen bench-reskin bench-evaluator lock reference clean doctor

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1|/' | \
		while IFS='|' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done
	@sed -n '2s/^# */  variables: /p' $(MAKEFILE_LIST)

demo: ## see the product work: a real clip with a known truth through every stage
	@$(PYTHON) -m runner.demo

extract: ## VIDEO=clip.mp4 [OBJECT=name | BBOX=x1,y1,x2,y2 FRAME=n] [RUN=name]: masks and skeleton
	@$(if $(VIDEO),,echo "error: name the clip: make extract VIDEO=clip.mp4" >&2; exit 2;) \
	$(PYTHON) extract_physics.py -i "$$VIDEO" $(run_option) $(box_option) $(ARGS)

reskin: ## PROMPT="object, skater" [RUN=name]: paint the new object and skater
	@$(if $(PROMPT),,echo 'error: say what to paint: make reskin PROMPT="cyberpunk drone, samurai"' >&2; exit 2;) \
	$(PYTHON) generate_reskin.py --prompt "$$PROMPT" --mask mask.mp4 --pose pose.json $(run_option) $(ARGS)

evaluate: ## [RUN=name]: the gate, IoU > 0.90 in every frame (make ends with 2 where evaluate_iou.py ends with 1, 2 or 3)
	@$(PYTHON) evaluate_iou.py -original mask.mp4 -generated output.mp4 $(run_option) $(ARGS)

pipeline: ## VIDEO=... PROMPT=... [OBJECT= | BBOX= FRAME=] [RUN=name]: extract, reskin, evaluate
	@$(MAKE) --no-print-directory extract
	@$(MAKE) --no-print-directory reskin
	@$(MAKE) --no-print-directory evaluate

build: ## [STAGES="tracker posegen"] [NODES="name ..."|none]: make the container images, for RUNNER=docker
	@$(PYTHON) -m runner.docker build $(STAGES)

up: ## [PUBLISH=1]: start ComfyUI's container and leave it running; PUBLISH=1 on 127.0.0.1:8188 too
	@$(PYTHON) -m runner.docker up $(if $(PUBLISH),--publish)

down: ## stop it
	@$(PYTHON) -m runner.docker down

test: ## the tests of every module, in at most 10 minutes; [TESTS=path: all of those] [ARGS="-k name"]
	@$(PYTHON) -m runner.tools pytest $(or $(TESTS),tests --ignore=tests/containers -m "not slow") $(ARGS)

test-all: ## everything that this machine can run: the slow tests and the containers' too; [ARGS="-k name"]
	@$(PYTHON) -m runner.tools pytest tests $(ARGS)

lint: ## ruff and mypy --strict
	@$(PYTHON) -m runner.tools ruff check .
	@$(PYTHON) -m runner.tools ruff format --check .
	@$(PYTHON) -m runner.tools mypy

weights: ## [PROFILE="tracker pose"] [CHECK=1]: fetch or verify model files; ARGS=--list shows them
	@$(PYTHON) -m runner.tools weights $(foreach p,$(PROFILE),--profile $(p)) $(if $(CHECK),--check) $(ARGS)

frame: ## VIDEO=clip.mp4 | RUN=name [FRAME=n] [ARGS="-o file.png"]: that frame with a pixel grid, to read a box from
	@$(if $(VIDEO)$(RUN),,echo "error: name the clip: make frame VIDEO=clip.mp4 FRAME=n" >&2; exit 2;) \
	$(PYTHON) -m runner.tools frame $(if $(VIDEO),-i "$$VIDEO",$(run_option)) --frame "$${FRAME:-0}" $(ARGS)

bench-tracker: ## SAM 2.1 here against upstream's plain loop: throughput and memory growth; ARGS="--frames 300"
	@$(PYTHON) -m runner.tools bench.tracker $(ARGS)

bench-posegen: ## RTMW here against rtmlib's own loop: throughput and memory growth; ARGS="--gmacs 4"
	@$(PYTHON) -m runner.tools bench.posegen $(ARGS)

bench-reskin: ## our overhead over the ComfyUI server's own work, and memory at three lengths; ARGS="--frames 81"
	@$(PYTHON) -m runner.tools bench.reskin $(ARGS)

bench-evaluator: ## IoU and J&F here against their plain definitions; memory at 100 and 2,000 frames
	@$(PYTHON) -m runner.tools bench.evaluator $(ARGS)

bench-memory: ## peak memory of extract and evaluate at 100 and at 2,000 frames
	@$(PYTHON) -m runner.tools bench.memory

lock: ## compile every requirements.in into its hashed requirements.lock
	@$(PYTHON) -m runner.locks

reference: ## write docs/reference/commands.md and handoff/commands.json, after a change of any command's options
	@$(PYTHON) -m runner.tools docs.make_reference

clean: ## remove the environments and downloads (not the runs)
	rm -rf .envs data/cache

doctor: ## [PROFILE="tracker reskin"] [SERVER=host:port]: what this machine lacks for RUNNER, each with what mends it
	@$(PYTHON) -m runner.doctor $(PROFILE)
