/**
 * The API's types by the names the dashboard uses. They are taken from paths, not from component names,
 * so that they follow the OpenAPI document however its schemas are called.
 */
import type { paths } from './schema'

type Json<R> = R extends { content: { 'application/json': infer Body } } ? Body : never
type Operation<P extends keyof paths, M extends keyof paths[P]> = paths[P][M] extends { responses: infer R } ? R : never
type Success<R> = { [S in keyof R]: S extends 200 | 201 | 202 ? Json<R[S]> : never }[keyof R]

export type Reply<P extends keyof paths, M extends keyof paths[P]> = Success<Operation<P, M>>
export type Item<P extends keyof paths> = Reply<P, 'get' & keyof paths[P]> extends { items: (infer T)[] } ? T : never
export type Body<P extends keyof paths, M extends keyof paths[P]> = paths[P][M] extends {
  requestBody?: { content: { 'application/json': infer B } }
}
  ? B
  : never

export type Me = Reply<'/api/v1/auth/me', 'get'>
export type ApiToken = Item<'/api/v1/me/tokens'>
export type NewApiToken = Reply<'/api/v1/me/tokens', 'post'>
export type Scope = ApiToken['scopes'][number]
export type Session = Item<'/api/v1/me/sessions'>
export type User = Item<'/api/v1/users'>
export type PatchUser = Body<'/api/v1/users/{id}', 'patch'>

export type Project = Item<'/api/v1/projects'>
export type Role = Project['role']
export type Member = Item<'/api/v1/projects/{id}/members'>

export type Stack = Item<'/api/v1/stacks'>
export type Engine = Stack['engine']
export type Storage = Stack['storage']
export type Template = Item<'/api/v1/templates'>
export type TemplateBody = Body<'/api/v1/templates', 'post'>

export type Instance = Reply<'/api/v1/instances/{id}', 'get'>
export type InstanceStatus = Instance['status']
export type CreateInstance = Body<'/api/v1/projects/{id}/instances', 'post'>
export type PatchInstance = Body<'/api/v1/instances/{id}', 'patch'>
export type EnvVar = Item<'/api/v1/instances/{id}/env'>
export type Alias = Item<'/api/v1/instances/{id}/aliases'>
export type Stats = Reply<'/api/v1/instances/{id}/stats', 'get'>

export type MqttBroker = Reply<'/api/v1/projects/{id}/mqtt', 'get'>
export type MqttClient = Item<'/api/v1/projects/{id}/mqtt-clients'>
export type NewMqttClient = Reply<'/api/v1/projects/{id}/mqtt-clients', 'post'>
export type CreateMqttClient = Body<'/api/v1/projects/{id}/mqtt-clients', 'post'>
export type PatchMqttClient = Body<'/api/v1/mqtt-clients/{id}', 'patch'>
export type MqttConnection = Item<'/api/v1/projects/{id}/mqtt/connections'>
export type MqttEvent = Item<'/api/v1/projects/{id}/mqtt/events'>
export type MqttMessage = Body<'/api/v1/projects/{id}/mqtt/publish', 'post'>

export type AuditEntry = Item<'/api/v1/audit'>
export type Ready = Reply<'/api/v1/health/ready', 'get'>
