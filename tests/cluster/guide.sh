# The eight documents of the Kubernetes guide (tests/golden/guides/kubernetes.txt), typed as it prints them.
kubectl apply -f- <<EOF
apiVersion: v1
kind: Secret
metadata:
  name: mistral-secret
  namespace: gloo-system
type: Opaque
stringData:
  Authorization: $MISTRAL_API_KEY
EOF

kubectl apply -f- <<EOF
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata:
  name: mistral
  namespace: gloo-system
spec:
  type: AI
  ai:
    llm:
      openai:
        authToken:
          kind: SecretRef
          secretRef:
            name: mistral-secret
        model: "mistral-medium-2505"
      host: api.mistral.ai
      port: 443
      path:
        full: "/v1/chat/completions"
EOF

kubectl apply -f- <<EOF
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: mistral
  namespace: gloo-system
spec:
  parentRefs:
    - name: agentgateway
      namespace: gloo-system
  rules:
  - matches:
    - path:
        type: PathPrefix
        value: /mistral
    filters:
      - type: URLRewrite
        urlRewrite:
          hostname: api.mistral.ai
    backendRefs:
    - name: mistral
      namespace: gloo-system
      group: gateway.kgateway.dev
      kind: Backend
EOF

kubectl apply -f- <<EOF
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata:
  name: mistral-tls
  namespace: gloo-system
spec:
  targetRefs:
  - name: mistral
    kind: Backend
    group: gateway.kgateway.dev
  validation:
    hostname: api.mistral.ai
    wellKnownCACertificates: System
EOF

kubectl apply -f- <<EOF
apiVersion: v1
kind: Secret
metadata:
  name: deepseek-secret
  namespace: gloo-system
type: Opaque
stringData:
  Authorization: $DEEPSEEK_API_KEY
EOF

kubectl apply -f- <<EOF
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata:
  name: deepseek
  namespace: gloo-system
spec:
  type: AI
  ai:
    llm:
      openai:
        authToken:
          kind: SecretRef
          secretRef:
            name: deepseek-secret
        model: "deepseek-chat"
      host: "api.deepseek.com"
      port: 443
      path:
        full: "/v1/chat/completions"
EOF

kubectl apply -f- <<EOF
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: deepseek
  namespace: gloo-system
spec:
  parentRefs:
    - name: agentgateway
      namespace: gloo-system
  rules:
  - matches:
    - path:
        type: PathPrefix
        value: /deepseek
    backendRefs:
    - name: deepseek
      namespace: gloo-system
      group: gateway.kgateway.dev
      kind: Backend
EOF

kubectl apply -f- <<EOF
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata:
  name: deepseek-tls
  namespace: gloo-system
spec:
  targetRefs:
  - name: deepseek
    kind: Backend
    group: gateway.kgateway.dev
  validation:
    hostname: api.deepseek.com
    wellKnownCACertificates: System
EOF
